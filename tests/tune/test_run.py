"""Bad input is one line and exit code 2, before anything is written."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from inline import make_config, open_search, run_inline
from safetensors.numpy import save_file

from trainable.model.sizes import read_sizes
from trainable.system.environment import CUBLAS, DETERMINISTIC, TRUST_REMOTE_CODE
from tune.folder.lock import own_folder
from tune.plan.checks import make_folder
from tune.plan.flags import parse_settings
from tune.run import main
from tune.workers.connect import spell_environment

TINY = ("--space", "lora_modules", "--profile", "tiny")
TOY = ("--space", "lora_modules", "--profile", "tiny", "--set", "base_model=toy")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((), "--space NAME, or --resume"),
        (("--space", "nowhere"), "no space is called 'nowhere'"),
        (("--space", "nowhere.py"), "no space is called"),
        ((*TOY, "--trials", "0"), "--trials must be at least 1, not 0"),
        ((*TOY, "--train-turns", "-5"), "--train-turns must be at least 1"),
        ((*TOY, "--concurrent", "-1"), "--concurrent must be at least 0"),
        ((*TOY, "--seeds", "0"), "--seeds must be at least 1, not 0"),
        ((*TOY, "--seeds", "3", "--set", "seed=1"), "--seeds 3 gives every trial its seed"),
        ((*TINY, "--set", "layout=chat"), "needs a base model with a chat template"),
        ((*TOY, "--eta", "1"), "--eta must be above 1"),
        ((*TOY, "--asha", "maybe"), "--asha must be one of stop, promote, off"),
        ((*TOY, "--pack", "0"), "--pack must be auto or a number from 1"),
        ((*TOY, "--rungs", "500,100"), "--rungs must rise"),
        ((*TOY, "--rungs", "100,9000"), "--rungs must rise"),
        ((*TOY, "--rungs", "9", "--eval-dialogues", "5"), "--eval-dialogues needs a number"),
        ((*TOY, "--eval-dialogues", "0,5,5"), "--eval-dialogues needs a number from 1"),
        ((*TOY, "--name", "a/b"), "--name must be a plain folder name"),
        ((*TOY, "--set", "lora_rnk=8"), "no field is called 'lora_rnk'"),
        ((*TOY, "--set", "lora_rank=-8"), "lora_rank must lie in"),
        ((*TOY, "--set", "lora_rank=wide"), "lora_rank must be a whole number, not 'wide'"),
        ((*TOY, "--set", "lora_rank=8.5"), "lora_rank must be a whole number, not 8.5"),
        ((*TOY, "--set", "rslora=False"), "rslora must be true or false, not 'False'"),
        ((*TOY, "--set", "lora_dropout=true"), "lora_dropout must be a number, not True"),
        ((*TOY, "--set", 'lora_modules=["q_proj"]'), "lora_modules must be a text, not ['q_proj']"),
        ((*TOY, "--set", "corpus=true"), "corpus must be a text, not True"),
        ((*TOY, "--set", "base_model=7"), "base_model must be a text, not 7"),
        ((*TOY, "--set", "lora_rank"), "--set takes FIELD=VALUE"),
        ((*TOY, "--set", "schedule=wavy"), "schedule must be one of"),
        ((*TINY, "--set", "lora_modules=regexp:("), "it does not compile"),
        ((*TINY, "--set", "lora_modules=regexp:zzz"), "matches none: their names end in down_proj"),
        ((*TINY, "--set", "lora_modules=atention"), "lora_modules must be one of"),
        ((*TOY, "--set", "num_beams=4"), "num_beams=4 has no meaning with decoding=greedy"),
        (("--resume", "nothing"), "--resume: no sweep (a folder with sweep.json) is called"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture, flags: tuple[str, ...], message: str
) -> None:
    assert main([*flags, "--storage", str(tmp_path / "runs")]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and error.startswith("error: ")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("flags", [("--spaec", "x"), ("--trials", "many"), ("--tri", "3")])
def test_unknown_flags_and_abbreviations_are_refused(flags: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit) as stop:
        main([*TOY, *flags])
    assert stop.value.code == 2


def test_an_existing_folder_is_not_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "evals.jsonl").write_text("")
    assert main([*TOY, "--storage", str(tmp_path), "--name", "s"]) == 2
    assert "--resume s" in capsys.readouterr().err
    assert [p.name for p in (tmp_path / "s").iterdir()] == ["evals.jsonl"]


def test_a_folder_whose_driver_was_killed_before_its_first_word_is_free(tmp_path: Path) -> None:
    make_folder(tmp_path / "s")
    (tmp_path / "s" / ".sweep.json-7").write_text("{")
    with own_folder(tmp_path / "s"):
        make_folder(tmp_path / "s")


def test_a_storage_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    assert main([*TOY, "--storage", str(tmp_path / "file")]) == 2
    assert "--storage must be a folder that can be written" in capsys.readouterr().err


def test_resume_refuses_changes_and_foreign_folders(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    config, space = make_config(tmp_path, trials=2)
    run_inline(open_search(config, space)[0])
    resume = ("--resume", "s", "--storage", str(tmp_path))
    assert main([*resume, "--seed", "3"]) == 2
    assert "--seed cannot change with --resume" in capsys.readouterr().err
    for flags in (["--seed", "0"], ["--profile", "lab"], ["--no-baseline"]):
        assert main([*resume, *flags]) == 2
        assert f"{flags[0]} cannot change with --resume" in capsys.readouterr().err
    assert main([*resume, "--train-turns", "10"]) == 2
    assert "may only grow" in capsys.readouterr().err
    other = tmp_path / "rank.py"
    other.write_text(
        "from optuna.distributions import IntDistribution\n"
        "from search_spaces.space import Space\n"
        "SPACE = Space(name='r', question='?', searched={'lora_rank': IntDistribution(1, 8)})\n"
    )
    assert main([*resume, "--space", str(other)]) == 2
    assert "no longer searches learning_rate, lora_modules" in capsys.readouterr().err
    header = config.folder / "sweep.json"
    header.write_text(header.read_text().replace('"format": 1', '"format": 99'))
    assert main([*resume]) == 2
    assert "format 99" in capsys.readouterr().err


def test_ways_of_running_last_a_resume_and_reach_other_nodes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (DETERMINISTIC, TRUST_REMOTE_CODE, CUBLAS):
        monkeypatch.setenv(name, "")  # as they are now, once the test is over
        monkeypatch.delenv(name)
    config, space = make_config(tmp_path, trials=2, deterministic=True)
    run_inline(open_search(config, space)[0])
    assert main(["--resume", "s", "--storage", str(tmp_path), "--trust-remote-code"]) == 0
    told = spell_environment()["env_vars"]
    assert {told[DETERMINISTIC], told[TRUST_REMOTE_CODE]} == {"1"} and told[CUBLAS]


def test_one_driver_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    config, space = make_config(tmp_path, trials=2)
    run_inline(open_search(config, space)[0])
    with own_folder(config.folder):
        assert main(["--resume", "s", "--storage", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "being written by another driver (process" in error and error.count("\n") == 1


def test_settings_are_json_or_text() -> None:
    assert parse_settings(["a=1e-4", "b=true", "c=x=y"]) == {"a": 1e-4, "b": True, "c": "x=y"}


def test_help_is_light() -> None:
    """What costs seconds is not imported for it (measured in modules, not in seconds)."""
    code = "import sys, tune.run; tune.run.build_parser().format_help(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"torch", "ray", "optuna", "transformers", "numpy", "pandas"}
    assert not heavy & set(done.stdout.split())


def test_a_folder_given_by_a_relative_path_is_found_from_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("mine", "tiny"):
        (tmp_path / name).mkdir()
    settings = parse_settings(["adapter=mine", "base_model=tiny", "corpus=hub/name"])
    whole = {"adapter": str(tmp_path / "mine"), "base_model": "tiny", "corpus": "hub/name"}
    assert settings == whole


def write_adapter(folder: Path) -> Path:
    """Of rank 4, on one layer of the embedded model."""
    (name, (width_out, width_in)), *_ = read_sizes("tiny").layers.items()
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 4, "lora_alpha": 8}
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps({**config, "target_modules": [name]}))
    pair = {
        f"base_model.model.{name}.lora_A.weight": np.zeros((4, width_in), dtype=np.float32),
        f"base_model.model.{name}.lora_B.weight": np.zeros((width_out, 4), dtype=np.float32),
    }
    save_file(pair, folder / "adapter_model.safetensors")
    return folder


def test_a_lexicalised_adapter_s_replies_are_searched_without_placeholders(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    adapter = write_adapter(tmp_path / "adapter")
    (adapter / "trial.json").write_text(json.dumps({"config": {"response": "lexicalised"}}))
    flags = ["--space", "decoding", "--profile", "tiny", "--set", f"adapter={adapter}"]
    flags += ["--dry-run", "--storage", str(tmp_path)]
    assert main(flags) == 0
    out = capsys.readouterr().out
    assert "searched: decoding, min_new_tokens, repetition_penalty" in out
    assert "  response: lexicalised" in out
    assert main([*flags, "--set", "placeholder_bias=1"]) == 2
    assert "has no meaning with response=lexicalised" in capsys.readouterr().err
    assert main([*flags, "--set", "response=delexicalised"]) == 0
    assert "placeholder_bias" in capsys.readouterr().out
