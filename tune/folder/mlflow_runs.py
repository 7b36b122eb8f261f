"""A sweep as an experiment of MLflow, a trial as a run of it."""

import json
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from analysis.records import read_header
from trainable.system.clock import now_s
from trainable.trial import ConfigError

KIND = "custom_model_development"  # of an experiment: mlflow opens it with runs, not with traces
STORE, ARTIFACTS = "mlflow.db", "mlartifacts"
TOLD = "reported.json"  # beside them: what trackers have been told
MOST_METRICS = 900  # a batch takes a thousand at most
STATUS = {"COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAIL": "FAILED"}


class MLflow:
    """The store that MLFLOW_TRACKING_URI names, or a SQLite file in the sweep's folder: `mlflow ui
    --backend-store-uri sqlite:///runs/NAME/mlflow.db`."""

    holds = False

    def __init__(self, sweep: str, folder: Path) -> None:
        self.folder, named = folder, os.environ.get("MLFLOW_TRACKING_URI")
        self.client = open_store(named or f"sqlite:///{(folder / STORE).absolute()}")
        place = None if named else (folder / ARTIFACTS).absolute().as_uri()
        question = str((read_header(folder).get("space") or {}).get("question") or "")
        self.experiment = open_experiment(self.client, sweep, place, question)
        known = self.client.search_runs([self.experiment], max_results=50_000)
        if named is None:
            place = self.client.get_experiment(self.experiment).artifact_location
            check_places(folder, [place, *(run.info.artifact_uri for run in known)])
        self.runs = {run.data.tags.get("trial"): run.info.run_id for run in known}

    def open(self, trial: str, config: Mapping[str, Any], searched: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        if trial in self.runs:
            return
        tags = {"trial": trial, "mlflow.runName": trial}
        self.runs[trial] = run = self.client.create_run(self.experiment, tags=tags).info.run_id
        self.client.log_batch(run, params=[Param(name, str(v)) for name, v in config.items()])
        if corpus := str(config.get("corpus") or ""):
            self._name_corpus(run, corpus)

    def _name_corpus(self, run: str, corpus: str) -> None:
        """What the trial was trained on, as the run's dataset."""
        from mlflow.entities import Dataset, DatasetInput, InputTag

        name, source = Path(corpus).name, json.dumps({"uri": corpus})
        data = Dataset(name=name, digest="as recorded", source_type="local", source=source)
        tag = InputTag(key="mlflow.data.context", value="training")
        self.client.log_inputs(run, datasets=[DatasetInput(dataset=data, tags=[tag])])

    def log(self, trial: str, lines: Sequence[tuple[int, Mapping[str, float]]]) -> None:
        from mlflow.entities import Metric

        now_ms = round(1000 * now_s())
        told = [Metric(n, v, now_ms, turns) for turns, known in lines for n, v in known.items()]
        for start in range(0, len(told), MOST_METRICS):
            self.client.log_batch(self.runs[trial], metrics=told[start : start + MOST_METRICS])

    def end(self, trial: str, state: str) -> None:
        """With its latest replies and each dialogue's counts, where there are any."""
        run = self.runs[trial]
        self.client.set_tag(run, "state", state)
        for path in sorted((self.folder / "trials" / trial).glob("*.json")):
            self.client.log_artifact(run, str(path))
        self.client.set_terminated(run, STATUS[state])


def open_store(uri: str) -> Any:
    """MLflow's client. Raises ConfigError without mlflow."""
    try:
        from mlflow import MlflowClient
    except ImportError:
        raise ConfigError("mlflow is not installed: pip install mlflow-skinny") from None
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)  # each table it makes
    logging.getLogger("alembic").setLevel(logging.WARNING)
    return MlflowClient(tracking_uri=uri)


def open_experiment(client: Any, name: str, artifacts: str | None, question: str) -> str:
    """Its number, new or the one of before; `artifacts`: the URI of the place of its files, None:
    where the store keeps them; `question`: what the sweep is to answer."""
    known = client.get_experiment_by_name(name)
    if known:
        return str(known.experiment_id)
    tags = {"mlflow.note.content": question, "mlflow.experimentKind": KIND}
    return str(client.create_experiment(name, artifact_location=artifacts, tags=tags))


def check_places(folder: Path, uris: Iterable[str]) -> None:
    """Raises ConfigError where the store of a sweep's folder keeps files elsewhere: mlflow writes
    where it says."""
    own = (folder / ARTIFACTS).resolve()
    for uri in uris:
        parts = urlsplit(uri)
        if parts.scheme != "file" or not Path(unquote(parts.path)).resolve().is_relative_to(own):
            raise ConfigError(
                f"{folder / STORE} keeps files at {uri}, which is not in this folder: it was made "
                f"elsewhere; take it and {TOLD} away, and everything is sent again"
            )
