"""What trials are compared by: other metrics, and Python functions of the user's own."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import pytest
from inline import make_config, open_search, run_inline

from analysis.leaderboard import render_markdown
from analysis.ranking import rank_trials
from analysis.records import SweepRecords, read_sweep
from trainable.evaluation.measure import call
from trainable.evaluation.objective import Objective, read_objective
from trainable.storage.checkpoint import list_checkpoints
from trainable.trial import ConfigError
from tune.folder.resume_command import spell_resume
from tune.plan.task import spell, trust_again
from tune.run import main

LENGTHS = '''
def shortness(dialogues, replies):
    """Of replies, in characters: lower is better. The toy's say how far it is in their bits."""
    scores = {d.id: sum(map(len, said)) / len(said) for d, said in zip(dialogues, replies)}
    return {"characters": sum(scores.values()) / len(scores), "dialogues": scores}

def broken(dialogues, replies):
    return [][0]

def quitting(dialogues, replies):
    raise SystemExit("enough")

def endless(dialogues, replies):
    return float("nan")

def undefined(dialogues, replies):
    return {"good": 1.0, "bad": float("nan")}

def huge(dialogues, replies):
    print("a word on the way")
    return 10 ** 400

def wordy(dialogues, replies):
    return "good"

def strange(dialogues, replies):
    return {"score": 1.0, "dialogues": {"nobody": 1.0}}

constant = 3
'''


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "own.py"
    path.write_text(LENGTHS)
    return path


def sweep(storage: Path, text: str, direction: str | None = None, **settings: Any) -> SweepRecords:
    objective = read_objective(text, direction)
    rung = "loss" if objective.name == "loss" else "objective"
    own = {**spell(objective, text), "rung_metric": rung, **settings}
    config, space = make_config(storage, **own)
    search, _ = open_search(config, space, objective=objective)
    run_inline(search)
    return read_sweep(config.folder)


def test_a_metric_decides_rungs_ranks_and_checkpoints(tmp_path: Path) -> None:
    records = sweep(tmp_path, "bleu")
    ended = [t for t in records.searched if t.state == "COMPLETE"]
    ranked = [e for e in rank_trials(records) if e.trial in ended]
    assert [e.value for e in ranked] == sorted((t.last.bleu for t in ended), reverse=True)  # type: ignore[union-attr]
    assert {d.metric for d in records.decisions} == {"bleu"}
    first = ranked[0].evals[0]
    assert first.objective == {"name": "bleu", "direction": "max", "value": first.bleu}
    assert ranked[0].combined_interval is not None  # from what each dialogue counts
    (kept,) = list_checkpoints(records.folder / "checkpoints" / ranked[0].trial.id)
    assert kept.score == first.bleu
    text = render_markdown(records, rank_trials(records))
    assert "| BLEU |" in text and "| Combined |" not in text and " by BLEU." in text


def test_the_lowest_loss_is_first_and_never_a_rung_s_highest(tmp_path: Path) -> None:
    records = sweep(tmp_path, "loss")
    ended = [t for t in records.searched if t.state == "COMPLETE"]
    losses = [t.last.nats_per_word for t in ended if t.last]
    first, *rest = (e for e in rank_trials(records) if not e.trial.is_base)
    assert first.value == min(losses)
    behind = [e.behind_first for e in rest if e.trial.state == "COMPLETE"]
    assert behind and all(gap is not None and gap < 0 for gap in behind)
    decided = [d for d in records.decisions if d.metric == "loss"]
    stopped = [d.value for d in decided if not d.goes_on and d.turns == decided[0].turns]
    went_on = [d.value for d in decided if d.goes_on and d.turns == decided[0].turns]
    assert min(stopped) > min(went_on) > 0


def test_a_function_of_the_user_s_own(tmp_path: Path, file: Path) -> None:
    records = sweep(tmp_path, f"python:{file}:shortness", "min")
    assert records.objective == "shortness" and records.sign == -1
    evaluation = next(t.last for t in records.searched if t.last and t.state == "COMPLETE")
    assert evaluation.value == pytest.approx(len("the [restaurant_name] is 12345678 ."))
    assert evaluation.metrics and evaluation.metrics["characters"] == evaluation.value
    assert rank_trials(records)[0].objective == "shortness"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("broken", r"broken raised IndexError: list index out of range \(.*own\.py, line 8\)"),
        ("quitting", "quitting raised SystemExit: enough"),
        ("endless", "endless is nan"),
        ("undefined", r"undefined \(bad\) is nan"),
        ("huge", "huge is inf"),
        ("wordy", "must be a number, not 'good'"),
        ("strange", "scored a dialogue that there is not: 'nobody'"),
        ("constant", "constant of .*own.py is no function"),
    ],
)
def test_a_function_that_fails_fails_its_trials_or_the_command(
    tmp_path: Path, file: Path, name: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    records = sweep(tmp_path, f"python:{file}:{name}", trials=2, baseline=False)
    assert [t.state for t in records.searched] == ["FAIL", "FAIL"]
    for trial in records.searched:
        assert trial.reason and re.search(reason, trial.reason)
    flags = ["--space", "lora_modules", "--profile", "tiny", "--set", "base_model=toy"]
    storage = tmp_path / "none"
    asked = [*flags, "--storage", str(storage), "--objective", f"python:{file}:{name}"]
    assert main(asked) == 2
    assert re.search(reason, capsys.readouterr().err) and not list(storage.glob("*/sweep.json"))


def test_a_similarity_by_a_package_that_is_not_there_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)
    flags = ["--space", "lora_modules", "--profile", "tiny", "--set", "base_model=toy"]
    asked = [*flags, "--objective", "semantic:all-MiniLM-L6-v2", "--storage", str(tmp_path / "no")]
    assert main(asked) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "pip install sentence-transformers, or give semantic" in error
    assert not list((tmp_path / "no").glob("*/sweep.json"))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["rogue"], r"--objective must be one of .*\(did you mean rouge\?\)"),
        (["python:nowhere.py:f"], "nowhere.py cannot be read as Python"),
        (["python:f"], "takes python:FILE:FUNCTION"),
        (["python:own.py:bleu"], "bleu is a metric of ours: rename the function"),
        (["loss", "max"], "has the direction min: leave out --direction"),
        (["bleu", "up"], "--direction must be max or min, not 'up'"),
    ],
)
def test_an_objective_that_is_none_is_one_line(flags: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        read_objective(*flags)
    assert "\n" not in str(caught.value)


def test_a_function_that_the_file_lacks_is_named(file: Path) -> None:
    with pytest.raises(ConfigError, match=r"must define the function shortnes \(did you mean sh"):
        read_objective(f"python:{file}:shortnes")
    file.write_text("def f(:\n")
    with pytest.raises(ConfigError, match="cannot be read as Python"):
        read_objective(f"python:{file}:f")


def test_a_function_imports_what_lies_beside_it_but_hides_no_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "beside_it.py").write_text("from colorsys import rgb_to_hsv as own\n")
    (tmp_path / "colorsys.py").write_text("raise RuntimeError('hides the library')")
    path = tmp_path / "own.py"
    path.write_text(
        "\ufefffrom beside_it import own\n"  # as editors of Windows begin a file
        "def hue(dialogues, replies):\n    return own(0, 0, 3)[2]\n"
    )
    objective = read_objective(f"python:{path}:hue")
    assert call(objective, [], []) == ({"hue": 3.0}, {})


def test_python_runs_by_the_flag_of_this_very_command_alone(tmp_path: Path, file: Path) -> None:
    text = f"python:{file}:shortness"
    objective = read_objective(text, "min")
    config, _ = make_config(tmp_path, **spell(objective, text))
    assert f"--objective {text}" in spell_resume(config.folder, config.objective)
    with pytest.raises(ConfigError, match="runs only where this command names it"):
        trust_again(config, None, None)
    assert trust_again(config, text, None) == objective
    with pytest.raises(ConfigError, match="cannot change with --resume"):
        trust_again(config, "bleu", None)
    file.write_text(LENGTHS + "# another")
    with pytest.raises(ConfigError, match="its file has changed"):
        trust_again(config, text, None)
    plain, _ = make_config(tmp_path)
    assert trust_again(plain, None, None) == Objective()
    with pytest.raises(ConfigError, match="cannot change with --resume"):
        trust_again(plain, text, None)
