"""The trials of a sweep in tensorboard, mlflow, wandb and trackio: their own local backends."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from trainable.trial import ConfigError
from tune.folder.report_to import Reporter, check_backends

SWEEP = "told"


def tell(name: str, folder: Path, turns: list[int], *, ends: bool) -> Reporter:
    """A driver that has trial 0000 open, and (again, where it was resumed) these evaluations."""
    reporter = Reporter(name, SWEEP, folder)
    params = {"lora_rank": 8, "learning_rate": 0.001}
    setting = {"config": {**params, "corpus": "cambridge"}, "params": params, "number": 0}
    reporter.on_event({"event": "trial", "trial": "0000", **setting})
    for n in turns:
        scores = {"combined": n / 10, "bleu": 5.0, "loss_nats": None, "richness": {"msttr": 0.5}}
        reporter.on_event({"event": "eval", "trial": "0000", "turns_seen": n, **scores})
    if ends:
        reporter.on_event({"event": "end", "trial": "0000", "state": "COMPLETE"})
    assert reporter.failure is None
    return reporter


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
    assert {"bleu", "msttr"} <= set(events.Tags()["scalars"])
    plugin = events.SummaryMetadata("_hparams_/session_start_info").plugin_data
    assert plugin.plugin_name == "hparams" and b"lora_rank" in plugin.content


@pytest.mark.slow
def test_mlflow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    (tmp_path / "trials" / "0000").mkdir(parents=True)
    (tmp_path / "trials" / "0000" / "responses.json").write_text("{}")
    tell_resumed("mlflow", tmp_path)
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    (run,) = client.search_runs([client.get_experiment_by_name(SWEEP).experiment_id])
    history = client.get_metric_history(run.info.run_id, "combined")
    assert [(m.step, m.value) for m in history] == [(100, 10.0), (200, 20.0), (300, 30.0)]
    assert run.info.status == "FINISHED" and run.data.params["lora_rank"] == "8"
    assert [i.dataset.name for i in run.inputs.dataset_inputs] == ["cambridge"]
    assert [f.path for f in client.list_artifacts(run.info.run_id)] == ["responses.json"]


@pytest.mark.slow
def test_wandb_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    tell_resumed("wandb", tmp_path)
    (tmp_path / "reported.json").unlink()  # as where a driver died right after the trial's end
    tell("wandb", tmp_path, [100, 200, 300], ends=True)
    assert len(list((tmp_path / "wandb").glob("offline-run-*"))) == 1
    steps = [step for path in sorted((tmp_path / "wandb").rglob("*.wandb")) for step in scan(path)]
    assert sorted(steps) == [(100, 10.0), (200, 20.0), (300, 30.0)]
    assert all(path.stem == f"run-{SWEEP}-0000" for path in tmp_path.rglob("*.wandb"))


def scan(path: Path) -> Iterator[tuple[int, float]]:
    """(turns, combined) of every line of an offline run's file."""
    from wandb.proto import wandb_internal_pb2

    for data in read_log(path.read_bytes()):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        items = {
            (item.key or ".".join(item.nested_key)): json.loads(item.value_json)
            for item in record.history.item
        }
        if items:
            yield items["turns_seen"], items["combined"]


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
def test_trackio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "store"))
    trackio = pytest.importorskip("trackio")
    tell_resumed("trackio", tmp_path)
    lines = trackio.sqlite_storage.SQLiteStorage.get_logs(SWEEP, "0000")
    told = [(line["step"], line["combined"]) for line in lines]
    assert told == [(100, 10.0), (200, 20.0), (300, 30.0)]


@pytest.mark.parametrize("moment", ["__init__", "open"])
def test_a_backend_that_fails_ends_no_sweep(
    moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tune.folder.report_to import TensorBoard

    def fail(*_: object) -> None:
        raise RuntimeError("no route")

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
