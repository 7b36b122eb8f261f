"""A sweep's answer as a record for others: composed of any sweep's, refused with anything else."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from analysis.ranking import find_best
from analysis.records import find_sweep, read_sweep
from analysis.submission import FOLDER, check_submission
from trainable.trial import ConfigError
from tune.__main__ import main
from tune.submit import compose

SWEEPS = ("example/sweep", "example/decoding", "example/model_size")
SWEEPS += ("analysis/results/layers/layers", "analysis/results/smollm2/modules")


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.json")), ids=lambda path: path.stem)
def test_what_was_sent_in_is_a_record(path: Path) -> None:
    check_submission(json.loads(path.read_text(encoding="utf-8")))


@pytest.mark.parametrize("name", SWEEPS)
def test_any_sweep_s_answer_is_one(name: str) -> None:
    records = read_sweep(find_sweep(name))
    record = json.loads(json.dumps(compose(records)))
    check_submission(record)
    text = json.dumps(record)
    nodes = {e.place.get("node") for t in records.trials for e in t.evals} - {None}
    assert not any(f'"{node}"' in text for node in nodes) and "/home" not in text
    best = find_best(records)
    assert best is not None and record["scores"]["combined"] == pytest.approx(best.value, abs=1e-3)


def test_the_command_writes_it_and_tells_of_no_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a sweep whose model and corpus are the user's own."""
    folder = tmp_path / "runs" / "secret"
    shutil.copytree(find_sweep("example/sweep"), folder)
    for name in ("sweep.json", "evals.jsonl"):
        text = (folder / name).read_text()
        text = text.replace('"base_model": "tiny"', '"base_model": "/home/me/model"')
        text = text.replace('"corpus": "cambridge"', '"corpus": "my chats.jsonl"')
        (folder / name).write_text(text)
    assert main(["submit", str(folder), "--out", str(tmp_path / "out")]) == 0
    (path,) = (tmp_path / "out").glob("*.json")
    record = json.loads(path.read_text())
    check_submission(record)
    assert record["config"]["base_model"] == record["config"]["corpus"] == "own"
    assert "secret" not in path.read_text() and "secret" not in path.name
    assert str(path) in capsys.readouterr().err


def change(*keys: str, to: Any) -> Callable[[dict[str, Any]], None]:
    def carry_out(record: dict[str, Any]) -> None:
        for key in keys[:-1]:
            record = record[key]
        record[keys[-1]] = to

    return carry_out


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (change("machine", "gpu", to="/home/me"), "machine.gpu must be a plain name"),
        (change("machine", "host", to="vm1"), r"see \['host'\]"),
        (change("note", to="hello"), r"see \['note'\]"),
        (change("config", "instruction", to="You are"), "must not have 'instruction'"),
        (change("config", "corpus", to="../chats.jsonl"), "config.corpus must be a plain name"),
        (change("config", "base_model", to="a/b/c"), "config.base_model must be a plain name"),
        (change("config", "lora_rank", to=0), r"config.lora_rank must lie in \[1, 1024\]"),
        (change("scores", "combined", to=150.0), "scores.combined must be bleu"),
        (change("scores", "inform", to=float("nan")), "scores.inform must lie in"),
        (change("intervals", "combined", to=[0.0, 1.0]), "must hold the score"),
        (change("versions", "torch", to="2\n3"), "versions.torch must be a plain name"),
        (change("format", to=2), "format is 2"),
    ],
)
def test_what_does_not_belong_there_is_refused(
    spoil: Callable[[dict[str, Any]], None], told: str
) -> None:
    record = json.loads(json.dumps(compose(read_sweep(find_sweep("example/sweep")))))
    spoil(record)
    with pytest.raises(ConfigError, match=told):
        check_submission(record)
