"""Data of other people, searched by one command each, without editing code."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from made_sgd import bring_sgd

from analysis.labels import label_objective
from analysis.ranking import rank_trials
from analysis.records import SweepRecords, read_sweep
from analysis.report import write_report
from tune.run import main

pytestmark = pytest.mark.slow
SMALL = ("--profile", "tiny", "--trials", "2", "--train-turns", "120", "--rungs", "40")
ENDED = ("--eval-dialogues", "4,6", "--confirm", "0", "--no-baseline", "--seed", "1")
RIGHT = """
def is_right(dialogues, replies):
    scores = {}
    for dialogue, said in zip(dialogues, replies):
        wanted = [turn.response.split()[-1] for turn in dialogue.turns]
        scores[dialogue.id] = sum(w in r.split() for w, r in zip(wanted, said)) / len(wanted)
    return {"right": sum(scores.values()) / len(scores), "dialogues": scores}
"""


def sweep(storage: Path, corpus: Path, *more: str) -> SweepRecords:
    flags = ["--space", "lora_modules", "--set", f"corpus={corpus}", "--storage", str(storage)]
    assert main([*flags, "--name", "s", *SMALL, *ENDED, *more]) == 0
    return read_sweep(storage / "s")


def check(records: SweepRecords, objective: str) -> None:
    assert records.objective == objective
    ended = [t for t in records.searched if t.state == "COMPLETE"]
    assert ended and not [t for t in records.searched if t.state == "FAIL"]
    (first, *_) = rank_trials(records)
    assert first.value is not None
    page = write_report(records.folder, None).read_text("utf-8")
    assert label_objective(objective) in page and ">Combined<" not in page
    assert all(t.last and t.last.combined is None and t.last.bleu is not None for t in ended)


def write_lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return path


def test_sgd_in_its_own_layout(tmp_path: Path, local_ray: None) -> None:
    records = sweep(tmp_path / "runs", bring_sgd(tmp_path))
    check(records, "bleu")
    # either of the two may report first, and go on
    last = next(t.last for t in records.searched if t.state == "COMPLETE")
    assert last and last.placeholders and last.metrics and "slots" in last.metrics


def test_chats_in_json_lines(
    tmp_path: Path, local_ray: None, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = random.Random(0)
    rows: list[dict[str, Any]] = []
    for _ in range(60):
        said = []
        for _ in range(2):
            item = rng.choice(("tea", "bread", "soap"))
            said += [
                {"role": "user", "content": f"how much is the {item} ?"},
                {"role": "assistant", "content": f"the {item} is {rng.randint(2, 9)} pounds ."},
            ]
        rows.append({"messages": said})
    rows.append({"messages": rows[0]["messages"][:1]})
    records = sweep(tmp_path / "runs", write_lines(tmp_path / "chats.jsonl", rows))
    check(records, "loss")
    told = capsys.readouterr()
    assert "dropped 1: no assistant turn (first: chats.jsonl, row 61)" in told.err
    assert "train: 48 dialogues, 96 turns, about" in told.out
    assert {t.config["response"] for t in records.searched} == {"lexicalised"}
    assert records.config["rung_metric"] == "loss"


def test_pairs_with_an_objective_in_python(tmp_path: Path, local_ray: None) -> None:
    (tmp_path / "own.py").write_text(RIGHT)
    rows = [
        {"prompt": f"what is {a} plus {b} ?", "completion": f"{a} plus {b} is {a + b}"}
        for a in range(10)
        for b in range(8)
    ]
    objective = f"python:{tmp_path / 'own.py'}:is_right"
    pairs = write_lines(tmp_path / "pairs.jsonl", rows)
    records = sweep(tmp_path / "runs", pairs, "--objective", objective)
    check(records, "is_right")
    text = (records.folder / "leaderboard.csv").read_text()
    assert "is_right" in text.partition("\n")[0] and "Combined" not in text
    resumed = ["--resume", "s", "--storage", str(tmp_path / "runs"), "--trials", "3"]
    assert main(resumed) == 2  # a record starts no Python


@pytest.mark.nightly
def test_another_corpus_first(tmp_path: Path, local_ray: None) -> None:
    first = sweep(tmp_path / "runs", bring_sgd(tmp_path))
    trial = next(t for t in first.searched if t.state == "COMPLETE")
    places = (first.folder / "checkpoints" / trial.id).iterdir()
    adapter = max(places, key=lambda place: int(place.name))
    flags = ["--space", "lr_steps", "--set", f"adapter={adapter}", "--set", "corpus=cambridge"]
    name = ["--storage", str(tmp_path / "runs"), "--name", "then"]
    assert main([*flags, *name, *SMALL, *ENDED]) == 0
    then = read_sweep(tmp_path / "runs" / "then")
    assert {t.config["adapter"] for t in then.searched} == {str(adapter)}
    assert {t.config["lora_rank"] for t in then.searched} == {trial.config["lora_rank"]}
    assert any(t.last and t.last.combined is not None for t in then.searched)
