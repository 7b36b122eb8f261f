"""Four trackers: a sweep is a group of runs, a trial a run, a step a system turn trained on."""

import contextlib
import importlib.util
import io
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from analysis.records import name_objective, read_header
from trainable.result import RESOURCE
from trainable.trial import ConfigError
from tune.folder.mlflow_runs import MLflow

# backend -> (module it needs, package to install)
BACKENDS = {
    "tensorboard": ("tensorboardX", "tensorboardX"),
    "mlflow": ("mlflow", "mlflow-skinny"),
    "wandb": ("wandb", "wandb"),
    "trackio": ("trackio", "trackio"),
}
Lines = Sequence[tuple[int, Mapping[str, float]]]  # turns, rising -> metrics
# columns of TensorBoard's HParams behind the objective's
SCORES = ("bleu", "inform", "success", "nats_per_word", "train/loss", "train_s")


class Backend(Protocol):
    holds: bool  # whether a trial's evaluations are told with its end, all at once

    def __init__(self, sweep: str, folder: Path) -> None: ...

    def open(self, trial: str, config: Mapping[str, Any], searched: Mapping[str, Any]) -> None:
        """The trial's run, new or the one of before; `searched`: those fields of its config."""

    def log(self, trial: str, lines: Lines) -> None: ...

    def end(self, trial: str, state: str) -> None: ...


def check_backends(names: Sequence[str]) -> None:
    """Raises ConfigError on an unknown one, or one that is not installed."""
    for name in names:
        if name not in BACKENDS:
            raise ConfigError(f"--report-to takes {', '.join(BACKENDS)}, not {name!r}")
        module, package = BACKENDS[name]
        if importlib.util.find_spec(module) is None:
            raise ConfigError(f"--report-to {name} needs its package: pip install {package}")


def open_backend(name: str, sweep: str, folder: Path) -> Backend:
    kinds: dict[str, type[Backend]] = {"tensorboard": TensorBoard, "mlflow": MLflow}
    kinds |= {"wandb": WandB, "trackio": Trackio}
    return kinds[name](sweep, folder)


def choose_example(attributes: Mapping[str, Any]) -> Any:
    """A value of a searched field, of the kind that its values have."""
    return to_plain(attributes["choices"][0] if "choices" in attributes else attributes["low"])


def to_plain(value: Any) -> Any:
    return value if isinstance(value, bool | int | float | str) else str(value)


class TensorBoard:
    """Event files under the sweep's folder: `tensorboard --logdir runs/NAME/tensorboard`. Each
    report is a file of its own, closed: on disk before it counts as told."""

    holds = False

    def __init__(self, sweep: str, folder: Path) -> None:
        self.folder = folder / "tensorboard"
        if not list(self.folder.glob("events.*")):
            self._describe(read_header(folder))

    def _describe(self, header: Mapping[str, Any]) -> None:
        """The columns of the HParams tab: what is searched, and scores before all else."""
        from tensorboardX.summary import hparams

        searched = (header.get("space") or {}).get("searched") or {}
        told = [name_objective(header.get("config") or {}), *SCORES]
        examples = {name: choose_example(d["attributes"]) for name, d in searched.items()}
        experiment, _, _ = hparams(examples, dict.fromkeys(told))
        with self._write("") as writer:
            writer.file_writer.add_summary(experiment)

    def open(self, trial: str, config: Mapping[str, Any], searched: Mapping[str, Any]) -> None:
        from tensorboardX.summary import hparams

        with self._write(trial) as writer:
            writer.add_text("config", json.dumps(dict(config), indent=1))
            if searched:
                _, start, _ = hparams({n: to_plain(v) for n, v in searched.items()}, {})
                writer.file_writer.add_summary(start)

    def log(self, trial: str, lines: Lines) -> None:
        with self._write(trial) as writer:
            for turns, metrics in lines:
                for name, value in metrics.items():
                    writer.add_scalar(name, value, turns)

    def end(self, trial: str, state: str) -> None:
        from tensorboardX.summary import hparams

        with self._write(trial) as writer:
            writer.add_text("state", state)
            if state != "FAIL":
                writer.file_writer.add_summary(hparams({}, {})[2])

    def _write(self, trial: str) -> Any:
        from tensorboardX import SummaryWriter

        place = self.folder / trial
        number = len(list(place.glob("events.*")))
        return SummaryWriter(str(place), filename_suffix=f".{number:06d}")


class WandB:
    """Offline unless WANDB_MODE says otherwise; `wandb sync` sends the folder later. An offline run
    cannot be taken up again, and what it holds when the driver dies is lost: it is written whole
    when its trial has ended, and in the place of one that a driver died over."""

    def __init__(self, sweep: str, folder: Path) -> None:
        self.sweep, self.folder = sweep, folder
        self.holds = os.environ.get("WANDB_MODE", "offline") == "offline"
        self.configs: dict[str, Mapping[str, Any]] = {}
        self.held: dict[str, list[tuple[int, Mapping[str, float]]]] = {}  # by trial
        self.runs: dict[str, Any] = {}

    def open(self, trial: str, config: Mapping[str, Any], searched: Mapping[str, Any]) -> None:
        self.configs[trial], self.held[trial] = config, []
        if not self.holds:
            self._open_run(trial)

    def _open_run(self, trial: str) -> None:
        import wandb

        self.runs[trial] = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "qlora-dialogue-search"),
            group=self.sweep,
            job_type="trial",
            name=trial,
            id=f"{self.sweep}-{trial}",
            resume="allow",
            reinit="create_new",
            mode=os.environ.get("WANDB_MODE", "offline"),  # type: ignore[arg-type]
            dir=str(self.folder),
            config=dict(self.configs[trial]),
            settings=wandb.Settings(console="off", silent=True, x_disable_stats=True),
        )

    def log(self, trial: str, lines: Lines) -> None:
        if self.holds:
            self.held[trial] += lines
        else:
            self._tell(trial, lines)

    def _tell(self, trial: str, lines: Lines) -> None:
        for turns, metrics in lines:
            self.runs[trial].log({**metrics, RESOURCE: turns}, step=turns)

    def end(self, trial: str, state: str) -> None:
        if self.holds:
            for left in (self.folder / "wandb").glob(f"offline-run-*-{self.sweep}-{trial}"):
                shutil.rmtree(left, ignore_errors=True)
            self._open_run(trial)
            self._tell(trial, self.held[trial])
        self.runs[trial].summary["state"] = state
        self.runs[trial].finish(exit_code=int(state == "FAIL"))


class Trackio:
    """The local trackio store (TRACKIO_DIR); the project is the sweep, a run is a trial."""

    holds = False

    def __init__(self, sweep: str, folder: Path) -> None:
        self.sweep = sweep
        self.configs: dict[str, Mapping[str, Any]] = {}

    def open(self, trial: str, config: Mapping[str, Any], searched: Mapping[str, Any]) -> None:
        self.configs[trial] = config

    def log(self, trial: str, lines: Lines) -> None:
        import trackio

        # one run is open at a time: taken up for its lines and put down, which it tells on stdout
        with contextlib.redirect_stdout(io.StringIO()):
            trackio.init(
                project=self.sweep, name=trial, config=dict(self.configs[trial]), resume="allow"
            )
            for turns, metrics in lines:
                trackio.log(dict(metrics), step=turns)
            trackio.finish()

    def end(self, trial: str, state: str) -> None:
        """trackio knows no states."""
