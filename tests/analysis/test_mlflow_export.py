"""A sweep in an mlflow store, read back by mlflow itself."""

from pathlib import Path

import pytest
from synthetic import write_sweep

from analysis.mlflow_export import export_sweep
from analysis.records import read_sweep

pytestmark = pytest.mark.slow
mlflow = pytest.importorskip("mlflow", reason="needs mlflow-skinny (extra: mlflow)")


def test_each_trial_is_a_run_with_its_curve(tmp_path: Path) -> None:
    records = read_sweep(write_sweep(tmp_path / "sweep", trials=4, failing=(2,)))
    store = tmp_path / "mlflow.db"
    assert export_sweep(records, store) == 5  # the untuned base too
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{store}")
    experiment = client.get_experiment_by_name("sweep")
    runs = {r.data.tags["trial"]: r for r in client.search_runs([experiment.experiment_id])}
    assert runs["0002"].info.status == "FAILED"
    trial = next(t for t in records.trials if len(t.evals) == 3)
    curve = client.get_metric_history(runs[trial.id].info.run_id, "combined")
    assert [(m.step, m.value) for m in curve] == [(e.turns_seen, e.combined) for e in trial.evals]
    assert runs[trial.id].data.params["lora_modules"] == trial.params["lora_modules"]
    assert export_sweep(records, store) == 0
