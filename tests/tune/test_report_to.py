"""The trials of a sweep in tensorboard, mlflow, wandb and trackio: their own local backends."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from analysis.training import TRAINING
from trainable.training_curve import MOST_POINTS, TrainingCurve, TrainingPoint
from trainable.trial import ConfigError
from tune.folder import report_to
from tune.folder.report_to import Reporter
from tune.folder.trackers import check_backends

SWEEP = "told"


def tell(name: str, folder: Path, turns: list[int], *, ends: bool) -> Reporter:
    """A driver that has trial 0000 open, and (again, where it was resumed) these evaluations."""
    write_header(folder)
    reporter = Reporter(name, SWEEP, folder)
    params = {"lora_rank": 8, "learning_rate": 0.001}
    setting = {"config": {**params, "corpus": "cambridge"}, "params": params, "number": 0}
    reporter.on_event({"event": "trial", "trial": "0000", **setting})
    for n in turns:
        write_training(folder, n)
        scores = {"combined": n / 10, "bleu": 5.0, "loss_nats": None, "richness": {"msttr": 0.5}}
        reporter.on_event({"event": "eval", "trial": "0000", "turns_seen": n, **scores})
    if ends:
        reporter.on_event({"event": "end", "trial": "0000", "state": "COMPLETE"})
    assert reporter.failure is None
    return reporter


def write_header(folder: Path) -> None:
    distributions = {"lora_rank": {"choices": [8, 16]}, "learning_rate": {"low": 1e-5, "high": 0.1}}
    searched = {name: {"name": "", "attributes": d} for name, d in distributions.items()}
    header = {"format": 1, "space": {"question": "Which rank?", "searched": searched}}
    (folder / "sweep.json").write_text(json.dumps(header))


def write_training(folder: Path, turns: int) -> None:
    """As a driver leaves it before the event: a point every 50 turns."""
    curve = TrainingCurve()
    for n in range(50, turns + 1, 50):
        values = {
            "loss_nats": 1 / n,
            "learning_rate": 1e-3,
            "gradient_norm": 2.0,
            "train_s": n / 10,
        }
        curve.add(TrainingPoint(turns_seen=n, steps=n // 50, tokens_seen=10 * n, **values))
    details = folder / "trials" / "0000"
    details.mkdir(parents=True, exist_ok=True)
    (details / TRAINING).write_text(json.dumps(curve.to_dict()))


STEPS = [(50, 0.02), (100, 0.01), (150, 0.00667), (200, 0.005), (250, 0.004), (300, 0.00333)]


def tell_resumed(name: str, folder: Path) -> None:
    """Told, resumed with everything replayed, resumed once more after the trial's end."""
    tell(name, folder, [100, 200], ends=False)  # killed
    tell(name, folder, [100, 200, 300], ends=True)
    tell(name, folder, [100, 200, 300], ends=True)


def test_tensorboard(tmp_path: Path) -> None:
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    tell_resumed("tensorboard", tmp_path)
    events = accumulators.EventAccumulator(str(tmp_path / "tensorboard" / "0000")).Reload()
    told = [(e.step, round(e.value, 3)) for e in events.Scalars("combined")]
    assert told == [(100, 10.0), (200, 20.0), (300, 30.0)]
    assert {"bleu", "msttr", "train/tokens_per_s"} <= set(events.Tags()["scalars"])
    assert [(e.step, round(e.value, 5)) for e in events.Scalars("train/loss")] == STEPS
    plugin = events.SummaryMetadata("_hparams_/session_start_info").plugin_data
    assert plugin.plugin_name == "hparams" and b"lora_rank" in plugin.content
    root = accumulators.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    columns = root.SummaryMetadata("_hparams_/experiment").plugin_data.content
    places = [columns.index(name) for name in (b"learning_rate", b"combined", b"success")]
    assert places == sorted(places)


def test_steps_are_told_while_a_trial_trains_and_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    monkeypatch.setattr(report_to, "STEPS_S", 0.0)
    killed = tell("tensorboard", tmp_path, [100], ends=False)
    write_training(tmp_path, 250)  # beyond its last evaluation
    killed.on_steps(["0000"])
    killed.on_steps(["0000"])  # nothing new
    # started again from the checkpoint of 100 turns; the evaluation of 200 is news all the same
    tell("tensorboard", tmp_path, [100, 200, 300], ends=True).on_steps(["0000"])
    events = accumulators.EventAccumulator(str(tmp_path / "tensorboard" / "0000")).Reload()
    assert [e.step for e in events.Scalars("combined")] == [100, 200, 300]
    assert [(e.step, round(e.value, 5)) for e in events.Scalars("train/loss")] == STEPS


def test_a_point_that_still_grows_is_told_when_it_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report_to, "STEPS_S", 0.0)
    reporter = tell("tensorboard", tmp_path, [100], ends=False)
    n_turns = 50 * (MOST_POINTS + 1)  # of which two steps make a point
    write_training(tmp_path, n_turns)
    reporter.on_steps(["0000"])
    assert reporter.steps == {"0000": n_turns - 50}


@pytest.mark.slow
def test_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    tell_resumed("mlflow", tmp_path)
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiment = client.get_experiment_by_name(SWEEP)
    assert experiment.tags["mlflow.note.content"] == "Which rank?"
    (run,) = client.search_runs([experiment.experiment_id])
    history = client.get_metric_history(run.info.run_id, "combined")
    assert [(m.step, m.value) for m in history] == [(100, 10.0), (200, 20.0), (300, 30.0)]
    losses = client.get_metric_history(run.info.run_id, "train/loss")
    assert [(m.step, round(m.value, 5)) for m in losses] == STEPS
    assert run.info.status == "FINISHED" and run.data.params["lora_rank"] == "8"
    assert [i.dataset.name for i in run.inputs.dataset_inputs] == ["cambridge"]
    assert [f.path for f in client.list_artifacts(run.info.run_id)] == [TRAINING]


@pytest.mark.slow
def test_wandb_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    tell_resumed("wandb", tmp_path)
    (tmp_path / "reported.json").unlink()  # as where a driver died right after the trial's end
    tell("wandb", tmp_path, [100, 200, 300], ends=True)
    assert len(list((tmp_path / "wandb").glob("offline-run-*"))) == 1
    (path,) = (tmp_path / "wandb").rglob("*.wandb")
    assert list(scan(path, "combined")) == [(100, 10.0), (200, 20.0), (300, 30.0)]
    assert [(turns, round(loss, 5)) for turns, loss in scan(path, "train/loss")] == STEPS
    assert all(path.stem == f"run-{SWEEP}-0000" for path in tmp_path.rglob("*.wandb"))


def scan(path: Path, metric: str) -> Iterator[tuple[int, float]]:
    """(turns, value) of every line of an offline run's file that has the metric."""
    from wandb.proto import wandb_internal_pb2

    for data in read_log(path.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        items = {
            (item.key or ".".join(item.nested_key)): json.loads(item.value_json)
            for item in record.history.item
        }
        if metric in items:
            yield items["turns_seen"], items[metric]


def read_log(content: bytes) -> Iterator[bytes]:
    """The records of a file in LevelDB's log format, after wandb's 7 bytes in front."""
    place, parts = 7, b""
    while place + 7 < len(content):
        if 32768 - place % 32768 < 7:
            place += 32768 - place % 32768
            continue
        size, kind = struct.unpack("<HB", content[place + 4 : place + 7])
        parts += content[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):  # whole, or the last part
            yield parts
            parts = b""


@pytest.mark.slow
def test_trackio(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "store"))
    trackio = pytest.importorskip("trackio")
    tell_resumed("trackio", tmp_path)
    assert not capsys.readouterr().out  # the live table's, or --json's
    lines = trackio.sqlite_storage.SQLiteStorage.get_logs(SWEEP, "0000")
    told = [(line["step"], line["combined"]) for line in lines if "combined" in line]
    assert told == [(100, 10.0), (200, 20.0), (300, 30.0)]
    steps = [(line["step"], line["train/loss"]) for line in lines if "train/loss" in line]
    assert steps == STEPS


@pytest.mark.parametrize("moment", ["__init__", "open"])
def test_a_backend_that_fails_ends_no_sweep(
    moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tune.folder.trackers import TensorBoard

    def fail(*_: object) -> None:
        raise RuntimeError("no route")

    write_header(tmp_path)
    monkeypatch.setattr(TensorBoard, moment, fail)
    reporter = Reporter("tensorboard", SWEEP, tmp_path)
    for turns in (1, 2):
        reporter.on_event({"event": "eval", "trial": "0000", "turns_seen": turns})
    assert reporter.failure == "--report-to tensorboard failed: RuntimeError: no route"


def test_an_unknown_backend_and_one_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="takes tensorboard, mlflow, wandb, trackio"):
        check_backends(["tensorbord"])
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="pip install mlflow-skinny"):
        check_backends(["mlflow"])
