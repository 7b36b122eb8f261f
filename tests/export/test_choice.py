"""Which trial goes out, and the one line for each that cannot."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from analysis.records import read_sweep
from tune.export.choice import choose_trials

Refuse = Callable[..., str]


def change_events(sweep: Path, change: Callable[[dict], dict | None]) -> None:
    lines = (sweep / "evals.jsonl").read_text().splitlines()
    changed = [change(json.loads(line)) for line in lines]
    (sweep / "evals.jsonl").write_text("".join(f"{json.dumps(e)}\n" for e in changed if e))


def test_the_best_by_each_metric(trained: Path) -> None:
    records = read_sweep(trained)
    for metric in ("combined", "bleu"):
        chosen = choose_trials(records, trial=None, metric=metric, top=2)
        values = [getattr(c.evaluation, metric) for c in chosen]
        assert values == sorted(values, reverse=True)
        assert len({c.trial.id for c in chosen}) == 2
    named = choose_trials(records, trial="0000", metric="combined", top=1)
    assert [c.trial.id for c in named] == ["0000"]


def test_a_trial_that_trained_longer_comes_first(sweep: Path, best: str) -> None:
    def shorten(event: dict) -> dict:
        if event["trial"] == best and event["event"] == "eval":
            event["turns_seen"] = 1
        return event

    change_events(sweep, shorten)
    (chosen,) = choose_trials(read_sweep(sweep), trial=None, metric="combined", top=1)
    assert chosen.trial.id != best


def test_no_finished_trial(sweep: Path, refuse: Refuse) -> None:
    change_events(sweep, lambda e: e if e["event"] != "end" else None)
    assert "needs a finished trial" in refuse(sweep, "--out", sweep / "out")
    assert "0000 is RUNNING" in refuse(sweep, "--out", sweep / "out", "--trial", "0000")


def test_a_torn_checkpoint(sweep: Path, best: str, refuse: Refuse) -> None:
    (adapter,) = (sweep / "checkpoints" / best).glob("*/adapter_model.safetensors")
    adapter.write_bytes(adapter.read_bytes()[:-7])
    assert "is torn or gone" in refuse(sweep, "--out", sweep / "out", "--base-model-id", "me/tiny")
    shutil.rmtree(sweep / "checkpoints")
    assert "is torn or gone" in refuse(sweep, "--out", sweep / "out", "--base-model-id", "me/tiny")
    assert not (sweep / "out").exists()


def test_other_methods_and_strangers(sweep: Path, refuse: Refuse) -> None:
    assert "are 0000, 0001" in refuse(sweep, "--out", "out", "--trial", "7")

    def retell(event: dict) -> dict:
        if event["event"] == "trial" and event["trial"] == "0000":
            event["config"] = {"method": "none"}
        return event

    change_events(sweep, retell)
    assert "method=none" in refuse(sweep, "--out", "out", "--trial", "0000")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "--out FOLDER, --repo USER/NAME"),
        (("--out", "out"), "--base-model-id"),
        (("--out", "out", "--base-model-id", "/models/llama"), "--base-model-id must keep to"),
        (("--out", "out", "--base-model-id", "llama"), "of the form user/name"),
        (("--out", "out", "--public"), "--public has no meaning without --repo"),
        (("--repo", "user/a--b"), "--repo must keep to the Hub's rules"),
        (("--repo", "name"), "--repo must be of the form user/name"),
        (("--repo", "user/name", "--pr", "--revision", "x"), "leave out --revision"),
        (("--out", "out", "--top", "2", "--trial", "0000"), "--top must be at least 1"),
        (("--out", "out", "--scores", "none.json", "--base-model-id", "a/b"), "--scores must be"),
    ],
)
def test_bad_flags_are_one_line(
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    refuse: Refuse,
    arguments: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert message in refuse(trained, *arguments)
    assert list(tmp_path.iterdir()) == []


def test_no_such_sweep(refuse: Refuse) -> None:
    assert "no sweep" in refuse("nowhere", "--out", "out")
