"""python -m analysis.mlflow_export NAME: a sweep as an mlflow experiment in a SQLite store.

One run a trial, with its configuration, its metrics over the turns trained on, its corpus, its
replies and its state. Exporting again adds what is new. Needs mlflow (extra: mlflow).
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from analysis.records import SweepRecords, TrialRecord, find_sweep, read_sweep
from analysis.training import list_metrics, read_training
from trainable.command.flags import add_name
from trainable.command.outcome import Outcome, carry_out
from trainable.command.parser import Parser
from trainable.system.environment import speak_utf8
from trainable.trial import ConfigError

METRICS = (
    *("combined", "bleu", "inform", "success", "loss_nats"),
    *("nats_per_word", "nats_per_placeholder", "train_s", "eval_s"),
    *("train_turns_per_s", "tokens_per_s", "peak_gib"),
)
KIND = "custom_model_development"  # of an experiment: mlflow opens it with runs, not with traces
STORE, ARTIFACTS = "mlflow.db", "mlartifacts"
MOST_METRICS = 900  # a batch takes a thousand at most
Told = tuple[str, float, int, int]  # metric, value, unix time in ms, turns trained on
STATUS = {"COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAIL": "FAILED"}


def export_sweep(records: SweepRecords, store: Path) -> int:
    """Writes the ended trials that the store (a file) lacks; returns how many. Raises ConfigError
    without mlflow."""
    client = open_store(spell_store(store))
    question = str(records.space.get("question") or "")
    number = open_experiment(client, records.name, store.with_name(ARTIFACTS), question)
    known = {run.data.tags.get("trial") for run in client.search_runs([number], max_results=50_000)}
    new = [t for t in records.trials if t.state in STATUS and t.id not in known]
    for trial in new:
        _export_trial(client, number, trial, records.folder)
    return len(new)


def spell_store(file: Path) -> str:
    return f"sqlite:///{file.absolute()}"


def open_store(uri: str) -> Any:
    """mlflow's client. Raises ConfigError without mlflow."""
    try:
        from mlflow import MlflowClient
    except ImportError:
        raise ConfigError("mlflow is not installed: pip install mlflow-skinny") from None
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)  # each table it makes
    logging.getLogger("alembic").setLevel(logging.WARNING)
    return MlflowClient(tracking_uri=uri)


def open_experiment(client: Any, name: str, artifacts: Path | None, question: str) -> str:
    """Its number, new or the one of before; `artifacts`: where its files go, None: where the store
    keeps them; `question`: what the sweep is to answer."""
    known = client.get_experiment_by_name(name)
    if known:
        return str(known.experiment_id)
    place = artifacts.absolute().as_uri() if artifacts else None
    tags = {"mlflow.note.content": question, "mlflow.experimentKind": KIND}
    return str(client.create_experiment(name, artifact_location=place, tags=tags))


def log_corpus(client: Any, run: str, config: Mapping[str, Any]) -> None:
    """What the trial was trained on, as the run's dataset."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    corpus = str(config.get("corpus") or "")
    if not corpus:
        return
    source = json.dumps({"uri": corpus})
    data = Dataset(name=Path(corpus).name, digest="as recorded", source_type="local", source=source)
    tag = InputTag(key="mlflow.data.context", value="training")
    client.log_inputs(run, datasets=[DatasetInput(dataset=data, tags=[tag])])


def log_files(client: Any, run: str, folder: Path) -> None:
    """The trial's latest replies and each dialogue's counts, where there are any."""
    for path in sorted(folder.glob("*.json")):
        client.log_artifact(run, str(path))


def _export_trial(client: Any, experiment: str, trial: TrialRecord, folder: Path) -> None:
    tags = {"trial": trial.id, "state": trial.state, "mlflow.runName": trial.id}
    if trial.reason:
        tags["reason"] = trial.reason
    started_ms = round(1000 * trial.started_s)
    run = client.create_run(experiment, start_time=started_ms, tags=tags)
    log_params(client, run.info.run_id, trial.config)
    log_metrics(client, run.info.run_id, [*_list_metrics(trial), *_list_steps(trial, folder)])
    log_corpus(client, run.info.run_id, trial.config)
    log_files(client, run.info.run_id, folder / "trials" / trial.id)
    ended_ms = round(1000 * (trial.ended_s or trial.started_s))
    client.set_terminated(run.info.run_id, STATUS[trial.state], end_time=ended_ms)


def log_params(client: Any, run: str, config: Mapping[str, Any]) -> None:
    from mlflow.entities import Param

    client.log_batch(run, params=[Param(name, str(value)) for name, value in config.items()])


def log_metrics(client: Any, run: str, told: Sequence[Told]) -> None:
    from mlflow.entities import Metric

    metrics = [Metric(*values) for values in told]
    for start in range(0, len(metrics), MOST_METRICS):
        client.log_batch(run, metrics=metrics[start : start + MOST_METRICS])


def _list_steps(trial: TrialRecord, folder: Path) -> Iterator[Told]:
    points = read_training(folder, trial.id)
    for point, (turns, metrics) in zip(points, list_metrics(points), strict=True):
        for name, value in metrics.items():
            yield name, value, round(1000 * (trial.started_s + point.train_s)), turns


def _list_metrics(trial: TrialRecord) -> Iterator[Told]:
    for e in trial.evals:
        values = {name: getattr(e, name) for name in METRICS} | dict(e.richness)
        values |= {**(e.metrics or {}), e.name: e.value}
        for name, value in values.items():
            if value is not None:
                yield name, float(value), round(1000 * e.time_s), e.turns_seen


def main(arguments: Sequence[str] | None = None) -> int:
    return carry_out(build_parser(), export, arguments)


def export(flags: argparse.Namespace) -> Outcome:
    folder = find_sweep(flags.name, flags.storage)
    store = flags.output or folder / STORE
    count = export_sweep(read_sweep(folder), store)
    print(
        f"{count} trials exported: mlflow ui --backend-store-uri {spell_store(store)} "
        "(pip install mlflow)"
    )
    return Outcome(facts={"store": store, "trials": count})


def build_parser() -> Parser:
    parser = Parser("analysis.mlflow_export", __doc__, name="mlflow")
    add_name(parser)
    parser.add_argument("--output", type=Path, help="the store's file; default: mlflow.db there")
    return parser


if __name__ == "__main__":
    speak_utf8()
    sys.exit(main())
