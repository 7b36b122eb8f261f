"""A small sweep of the embedded model, trained for real, in the folder that the search leaves."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from search_spaces.find import find_space
from trainable.result import ValidationRequest
from trainable.storage.checkpoint import write_checkpoint
from trainable.trial import TrialConfig
from trainable.worker.lease import Report
from trainable.worker.wire import Place
from tune.driver.header import compose_header, write_header
from tune.folder.recorder import Recorder
from tune.search.config import SweepConfig
from tune.search.profiles import compose

DIALOGUES = 4
TURNS = 60
TRIALS = {
    "0000": {"lora_modules": "qv", "learning_rate": 1e-3},
    "0001": {"lora_modules": "all-linear", "learning_rate": 5e-3},
}


def compose_sweep(storage: Path) -> SweepConfig:
    scale = {"trials": 2, "train_turns": TURNS, "rungs_turns": (), "eval_dialogues": (DIALOGUES,)}
    names = {"name": "small", "space": "lora_modules", "storage": str(storage)}
    return compose("tiny", {**names, **scale})


def run_trial(recorder: Recorder, trial: str, config: TrialConfig, n_dialogues: int) -> None:
    """What a worker and the search do with one trial, without Ray."""
    from trainable.engine.finetuner import SoloFinetuner

    recorder.record_trial(trial, int(trial), TRIALS[trial], config)
    started_s = time.monotonic()
    finetuner = SoloFinetuner(config, "cpu")
    try:
        finetuner.train_until(config.train_turns)
        evaluation = finetuner.evaluate(ValidationRequest(n_dialogues))
        write_checkpoint(recorder.folder / "checkpoints" / trial, finetuner, evaluation)
    finally:
        finetuner.close()
    place = Place(node="secret-host", gpu=None, pid=1)
    recorder.record_resolved(trial, finetuner.resolved)
    recorder.record_eval(
        Report(
            trial=trial, evaluation=evaluation, place=place, worked_s=time.monotonic() - started_s
        )
    )
    recorder.record_end(trial, "COMPLETE", None)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished sweep of two trials on the embedded NF4 base, fp32 on the CPU."""
    config = compose_sweep(tmp_path_factory.mktemp("runs"))
    space = find_space("lora_modules")
    config.folder.mkdir()
    write_header(config.folder, compose_header(config, space, None))
    recorder = Recorder(config.folder)
    for trial, point in TRIALS.items():
        run_trial(recorder, trial, space.to_config(point, config.base), DIALOGUES)
    return config.folder


@pytest.fixture
def sweep(trained: Path, tmp_path: Path) -> Path:
    """A copy of it, for a test to spoil."""
    return Path(shutil.copytree(trained, tmp_path / "small"))


@pytest.fixture
def best(trained: Path) -> str:
    """The better trial's id."""
    from analysis.ranking import rank_trials
    from analysis.records import read_sweep

    return rank_trials(read_sweep(trained))[0].trial.id


Refuse = Callable[..., str]


@pytest.fixture
def refuse(capsys: pytest.CaptureFixture[str]) -> Refuse:
    """Runs the command, which must end with one line and exit 2; that line."""
    from tune.export.command import main

    def run(*arguments: object) -> str:
        capsys.readouterr()
        assert main([str(a) for a in arguments]) == 2
        captured = capsys.readouterr()
        assert captured.err.startswith("error: ")
        assert captured.err.count("\n") == 1
        assert captured.out == ""
        return captured.err

    return run
