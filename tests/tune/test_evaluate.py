"""python -m tune.evaluate on the small corpus, and once on real predictions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tune.evaluate import main

OWN = [{"response": "How about [name]? Call [phone]."}, {"response": "Done, it is [ref]."}]


def predict(path: Path, **changes: Any) -> Path:
    path.write_text(json.dumps({"sng04": OWN, "pmul05": OWN, **changes}))
    return path


@pytest.fixture
def arguments(small_folder: Path, own_cache: Path, tmp_path: Path) -> list[str]:
    predictions = predict(tmp_path / "predictions.json")
    return ["--predictions", str(predictions), "--corpus", str(small_folder)]


def test_the_official_table(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    for title in ("BLEU", "Inform", "Success", "Combined", "Av. len.", "CBE"):
        assert title in printed
    assert "#uniq. words" in printed
    assert "#uniq. 3-grams" in printed
    assert "test split: 2 dialogues, 4 turns, gold states: the policy optimisation board" in printed
    assert "100.0–100.0" in printed


def test_json_holds_every_score(arguments: list[str], tmp_path: Path) -> None:
    out = tmp_path / "scores.json"
    assert main([*arguments, "--json", str(out)]) == 0
    record = json.loads(out.read_text())
    assert record["split"] == "test"
    assert record["board"] == "policy optimisation"
    assert record["combined"] == pytest.approx(200)
    assert record["intervals"]["success"] == [100, 100]
    assert set(record["dialogues"]) == {"sng04", "pmul05"}


def test_any_objective_is_measured_beside_them(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "scores.json"
    assert main([*arguments, "--objective", "rouge", "--json", str(out)]) == 0
    told = json.loads(out.read_text())["objective"]
    assert told["name"] == "rouge" and told["interval"][0] <= told["value"] <= told["interval"][1]
    assert f"ROUGE-L: {told['value']:.1f} (" in capsys.readouterr().out
    own = tmp_path / "own.py"
    own.write_text(
        "def brave(dialogues, replies):\n"
        "    assert len(dialogues) == 1, 'not these'\n"
        "    return {'brave': 1, 'words': sum(len(r.split()) for r in replies[0])}\n"
    )
    responses = json.dumps({"sng04": OWN})
    Path(arguments[1]).write_text(responses)
    function = ["--partial", "--objective", f"python:{own}:brave"]
    assert main([*arguments, *function]) == 2  # tried on the corpus's own replies, of which 2
    assert "brave raised AssertionError: not these" in capsys.readouterr().err
    own.write_text(own.read_text().replace("len(dialogues) == 1", "len(dialogues) > 1"))
    assert (
        main([*arguments, *function, "--json"]) == 1
    )  # and here there is one: the scores are told
    captured = capsys.readouterr()
    assert "brave raised AssertionError" in captured.err
    record = json.loads(captured.out)
    assert record["objective"]["value"] is None and record["bleu"] > 0


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        ("rogue", "did you mean rouge?"),
        ("loss", "is not measured on replies"),
        ("semantic", "--predictions name none: give semantic:MODEL"),
    ],
)
def test_an_objective_that_replies_do_not_tell_is_one_line(
    arguments: list[str], capsys: pytest.CaptureFixture[str], objective: str, message: str
) -> None:
    assert main([*arguments, "--objective", objective]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1 and message in captured.err


def test_partial_and_other_splits(arguments: list[str], tmp_path: Path) -> None:
    predictions = tmp_path / "few.json"
    predictions.write_text(json.dumps({"sng04": OWN}))
    arguments[1] = str(predictions)
    assert main(arguments) == 2
    assert main([*arguments, "--partial"]) == 0
    assert main([*arguments, "--split", "validation"]) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sng04": OWN[:1]}, "sng04 has 2 in the corpus, 1 in the predictions"),
        ({"SNG04.json": OWN}, "did you mean sng04?"),
        ({"sng04": [{"response": None}, OWN[1]]}, "a turn must be {response"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str], change: Any, message: str
) -> None:
    predict(Path(arguments[1]), **change)
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert message in captured.err


def test_an_unwritable_json_is_one_line(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*arguments, "--json", str(tmp_path / "none" / "scores.json")]) == 2
    assert "--json must lie in a folder that exists" in capsys.readouterr().err


def test_unknown_slots_are_warned_of(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    predict(Path(arguments[1]), sng04=[{"response": "[weather_report] [weather_report]"}, OWN[1]])
    assert main(arguments) == 0
    assert capsys.readouterr().err.count("warning: unknown slot [weather_report]") == 1


def test_a_cross_check_without_mwzeval_says_how_to_get_it(
    arguments: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "mwzeval", None)
    assert main([*arguments, "--cross-check"]) == 2
    assert "pip install 'mwzeval @ git+https" in capsys.readouterr().err


@pytest.mark.slow
def test_real_predictions(
    multiwoz_folder: Path, shared_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    predictions = shared_folder / "parity" / "damd.json.gz"
    arguments = ["--predictions", str(predictions), "--corpus", str(multiwoz_folder)]
    assert main(arguments) == 2
    assert "1 of 1000 dialogues are missing" in capsys.readouterr().err
    assert main([*arguments, "--partial"]) == 0
    printed = capsys.readouterr().out
    assert "the end-to-end board" in printed
    assert "joint accuracy 25.8" in printed


def test_the_test_split_is_told_and_its_uses_are_counted(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    said = []
    for _ in range(2):
        assert main(arguments) == 0
        said.append(capsys.readouterr().err)
    assert "TEST dialogues" in said[0] and "before" not in said[0]
    assert "scored on it 1 times before" in said[1]
    assert main([*arguments, "--split", "validation", "--partial"]) in (0, 2)
    assert "TEST" not in capsys.readouterr().err
