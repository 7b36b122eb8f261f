"""The untuned model in a leaderboard, and two trials side by side."""

import json
from pathlib import Path

import pytest

from analysis.records import read_sweep
from tune import baseline, run

TOY = ["--profile", "tiny", "--set", "base_model=toy"]


def test_alone_it_is_a_folder_of_one_trial(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    storage = ["--storage", str(tmp_path), "--dialogues", "4"]
    assert baseline.main([*TOY, *storage]) == 0
    records = read_sweep(tmp_path / "baseline-01")
    (trial,) = records.trials
    assert trial.is_base and trial.state == "COMPLETE" and trial.config["method"] == "none"
    assert "lora_rank" not in trial.config and not records.is_running
    assert "untuned" in (tmp_path / "baseline-01" / "leaderboard.md").read_text()
    assert baseline.main(["--sweep", str(tmp_path / "baseline-01")]) == 0
    assert "has its baseline already" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_added_to_a_sweep_and_compared(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """A sweep started without a baseline gets it later, and the two stand side by side."""
    sweep = [*TOY, "--space", "lora_modules", "--trials", "2", "--no-baseline", "--name", "x"]
    assert run.main([*sweep, "--storage", str(tmp_path), "--eval-dialogues", "4,4,4"]) == 0
    folder = str(tmp_path / "x")
    assert baseline.main(["--sweep", folder, "--dialogues", "4"]) == 0
    assert [t.id for t in read_sweep(tmp_path / "x").trials] == ["base", "0000", "0001"]
    capsys.readouterr()
    assert baseline.main(["--compare", f"{folder}:base", folder]) == 0
    text = capsys.readouterr().out
    assert "| LLM model | params | Bleu | Success | Inform | Richness | Combined |" in text
    assert "x:base (untuned)" in text and "(95 %, paired by dialogue)" in text


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--compare", "nowhere", "nowhere"], "no sweep"),
        ([*TOY, "--set", "lora_rnk=3"], "no field is called 'lora_rnk'"),
        (["--sweep", "nowhere"], "no sweep"),
        (["--set", "base_model=/no/such/folder"], "is no folder"),
    ],
)
def test_bad_input_is_one_line(
    flags: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    storage = [] if "--compare" in flags else ["--storage", str(tmp_path)]
    assert baseline.main([*flags, *storage]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_a_trial_without_a_score_is_named(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert baseline.main([*TOY, "--storage", str(tmp_path), "--dialogues", "2"]) == 0
    name = str(tmp_path / "baseline-01")
    assert baseline.main(["--compare", f"{name}:0007", name]) == 2
    assert f"take one of {name}:base" in capsys.readouterr().err


def test_in_a_sweep_by_another_objective(
    tmp_path: Path, capsys: pytest.CaptureFixture, local_ray: None
) -> None:
    """It is measured by that, and the sweep goes on afterwards."""
    said = [
        {
            "messages": [
                {"role": "user", "content": f"{n} ?"},
                {"role": "assistant", "content": str(n)},
            ]
        }
        for n in range(12)
    ]
    chats = tmp_path / "chats.jsonl"
    chats.write_text("\n".join(map(json.dumps, said)))
    storage = ["--storage", str(tmp_path / "runs")]
    short = ["--train-turns", "16", "--asha", "off", "--confirm", "0", "--no-baseline"]
    sweep = ["--space", "lora_rank", "--set", f"corpus={chats}", "--objective", "rouge", *short]
    assert run.main([*sweep, "--name", "s", "--trials", "1", *storage]) == 0
    assert baseline.main(["--sweep", "s", *storage]) == 0
    base = read_sweep(tmp_path / "runs/s").trials[0]
    assert base.is_base and base.evals[-1].name == "rouge" and base.evals[-1].value is not None
    assert run.main(["--resume", "s", "--trials", "2", *storage]) == 0
    capsys.readouterr()
    assert (
        baseline.main(["--set", f"corpus={chats}", "--set", "target=acts+response", *storage]) == 2
    )
    assert "neither states nor acts" in capsys.readouterr().err
    assert baseline.main(["--set", f"corpus={chats}", "--dialogues", "0", *storage]) == 2
