"""A sweep that has ended, told to a tracker and read back by it."""

from pathlib import Path

import pytest
from synthetic import write_sweep

from analysis.records import read_sweep
from tune.track import main as track


@pytest.mark.slow
def test_an_ended_sweep_is_told_to_mlflow_once_and_in_its_own_folder(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mlflow = pytest.importorskip("mlflow")
    records = read_sweep(write_sweep(tmp_path / "sweep", trials=4, failing=(2,)))
    for _ in range(2):
        assert track([str(records.folder), "--report-to", "mlflow"]) == 0
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{records.folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("sweep")
    runs = {r.data.tags["trial"]: r for r in client.search_runs([experiment.experiment_id])}
    assert len(runs) == 5 and runs["0002"].info.status == "FAILED"  # the untuned base too
    trial = next(t for t in records.trials if len(t.evals) == 3)
    curve = client.get_metric_history(runs[trial.id].info.run_id, "combined")
    assert [(m.step, m.value) for m in curve] == [(e.turns_seen, e.combined) for e in trial.evals]
    assert runs[trial.id].data.params["lora_modules"] == trial.params["lora_modules"]
    sent = tmp_path / "sent" / "sweep"  # as its store is from another place
    sent.parent.mkdir()
    records.folder.rename(sent)
    (sent / "reported.json").unlink()
    assert track([str(sent), "--report-to", "mlflow"]) == 2
    assert "which is not in this folder" in capsys.readouterr().err
    assert not records.folder.exists()


def test_a_tracker_that_is_unknown_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert track([str(tmp_path), "--report-to", "mlflw"]) == 2
    assert "--report-to takes tensorboard, mlflow, wandb, trackio" in capsys.readouterr().err
