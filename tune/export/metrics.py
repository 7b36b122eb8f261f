"""An export's scores: on validation from the record, on test from a file of tune.evaluate; as
model-index and as .eval_results, both by the Hub client's own classes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from analysis.labels import LABELS, format_score, label_objective
from analysis.ranking import METRICS, Interval
from analysis.rows import BOARDS
from trainable.result import EvalResult
from trainable.trial import ConfigError

if TYPE_CHECKING:
    from huggingface_hub import EvalResult as HubEvalResult
    from huggingface_hub import EvalResultEntry

# corpus -> (pretty name, hub id of the data, licence, where it is from)
CORPORA = {
    "multiwoz": (
        "MultiWOZ 2.2",
        "pfb30/multi_woz_v22",
        "MIT",
        "https://github.com/budzianowski/multiwoz",
    ),
    "cambridge": (
        "Cambridge (generated)",
        None,
        "MIT",
        "the package's own generator, `trainable/corpus/cambridge`",
    ),
}


@dataclass(frozen=True, kw_only=True)
class Scored:
    """One split's scores: those of METRICS that were measured (rates and BLEU 0..100, Combined
    0..200), and the objective where it is another."""

    split: str
    states: str  # gold | predicted
    n_dialogues: int
    values: Mapping[str, float]
    intervals: Mapping[str, Interval]  # 95 %, over dialogues
    placeholders: Mapping[str, float] = field(default_factory=dict)  # see EvalResult

    @property
    def board(self) -> str:
        if "combined" not in self.values:
            return "no goals"
        return BOARDS.get(self.states, self.states)

    def show(self, metric: str) -> str:
        """`81.2 [77.0, 85.1]`; empty where it was not measured."""
        if metric not in self.values:
            return ""
        low_high = self.intervals.get(metric)
        interval = f" [{low_high[0]:.1f}, {low_high[1]:.1f}]" if low_high else ""
        value = self.values[metric]
        told = f"{value:.1f}" if metric in METRICS else format_score(value, metric)
        return f"{told}{interval}"


@dataclass(frozen=True, kw_only=True)
class Data:
    """What a corpus is called where."""

    name: str
    hub_id: str | None
    licence: str | None
    source: str


def describe_data(corpus: str, given_id: str | None) -> Data:
    """The corpus for a card; a local folder is told by its last name alone."""
    if corpus in CORPORA:
        name, hub_id, licence, source = CORPORA[corpus]
        return Data(name=name, hub_id=given_id or hub_id, licence=licence, source=source)
    is_folder = Path(corpus).expanduser().exists()
    name = Path(corpus).name if is_folder else corpus
    hub_id = given_id or (None if is_folder else corpus)
    source = f"https://huggingface.co/datasets/{hub_id}" if hub_id else "a local folder"
    return Data(name=name, hub_id=hub_id, licence=None, source=source)


def take_validation(result: EvalResult) -> Scored:
    return Scored(
        split=result.split,
        states=result.states,
        n_dialogues=result.n_dialogues,
        values=pick_known({m: getattr(result, m) for m in METRICS} | {result.name: result.value}),
        intervals=result.intervals,
        placeholders=result.placeholders or {},
    )


def pick_known(values: Mapping[str, float | None]) -> dict[str, float]:
    return {name: value for name, value in values.items() if value is not None}


def list_names(scores: Sequence[Scored]) -> list[str]:
    """The metrics that some split has."""
    return list(dict.fromkeys(name for scored in scores for name in scored.values))


def read_scores(path: Path, adapter_sha256: str) -> Scored:
    """What `tune.evaluate --adapter ... --json` wrote of this very adapter. Raises ConfigError."""
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        scored = Scored(
            split=str(record["split"]),
            states=str(record["states"]),
            n_dialogues=int(record["n_dialogues"]),
            values=pick_known({m: record[m] and float(record[m]) for m in METRICS}),
            intervals={k: (float(a), float(b)) for k, (a, b) in record["intervals"].items()},
            placeholders=record.get("placeholders") or {},
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"--scores must be a file of tune.evaluate --json, and {path} is none "
            f"({type(error).__name__} {error})"
        ) from error
    if scored.split != "test":
        raise ConfigError(
            f"--scores must be of the test split, and {path} is of {scored.split}: the "
            "validation's are in the sweep's record"
        )
    if record.get("adapter_sha256") != adapter_sha256:
        raise ConfigError(
            f"--scores must be of the adapter exported, and {path} is of another: score it with "
            "python -m tune.evaluate --adapter FOLDER --json FILE"
        )
    return scored


def to_model_index(scores: Sequence[Scored], data: Data) -> list[HubEvalResult]:
    """One result a split and metric, for the card's metadata."""
    from huggingface_hub import EvalResult as HubEvalResult

    return [
        HubEvalResult(
            task_type="text-generation",
            task_name=f"Dialogue response generation, {scored.board} board",
            dataset_type=data.hub_id or data.name,
            dataset_name=data.name,
            dataset_split=scored.split,
            metric_type=metric,
            metric_name=label_objective(metric) if metric in LABELS else metric.capitalize(),
            metric_value=round(scored.values[metric], 4),
            metric_args=describe_scoring(scored, metric),
        )
        for scored in scores
        for metric in scored.values
    ]


def describe_scoring(scored: Scored, metric: str) -> dict[str, Any]:
    told: dict[str, Any] = {"dialogues": scored.n_dialogues, "states": scored.states}
    if metric in scored.intervals:
        told["interval_95"] = [round(v, 4) for v in scored.intervals[metric]]
    return told


def to_entries(scores: Sequence[Scored], data: Data) -> list[EvalResultEntry]:
    """The same for `.eval_results`, which names the data by its hub id; empty without one."""
    from huggingface_hub import EvalResultEntry

    if data.hub_id is None:
        return []
    return [
        EvalResultEntry(
            dataset_id=data.hub_id,
            task_id=f"{scored.board.replace(' ', '_').replace('-', '_')}_{metric}",
            value=round(scored.values[metric], 4),
            notes=f"{scored.split} split, {scored.n_dialogues} dialogues, {scored.states} states"
            + (f"; 95 % interval {scored.show(metric)}" if metric in scored.intervals else ""),
        )
        for scored in scores
        for metric in scored.values
    ]


def write_entries(entries: Sequence[EvalResultEntry], folder: Path, name: str) -> None:
    """`.eval_results/NAME.yaml` in the folder."""
    import yaml
    from huggingface_hub import eval_result_entries_to_yaml

    if not entries:
        return
    (folder / ".eval_results").mkdir()
    text = yaml.safe_dump(eval_result_entries_to_yaml(list(entries)), sort_keys=False)
    (folder / ".eval_results" / f"{name}.yaml").write_text(text, encoding="utf-8")
