"""README.md: the model card, with metadata by the Hub client's own classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from analysis.labels import (
    format_count,
    format_hours,
    format_value,
    label_modules,
    label_objective,
    to_markdown,
)
from analysis.ranking import METRICS, rank_trials
from analysis.rows import to_cells
from tune.export.content import Export
from tune.export.guidance import describe_history, describe_use
from tune.export.metrics import Scored, list_names, to_model_index
from tune.export.origin import MERGED
from tune.export.serving import serve
from tune.export.usage import ask, load, use

if TYPE_CHECKING:
    from huggingface_hub import ModelCard

CURVE = "learning_curve.png"
CURVES = f"## Learning curves\n\n![The score over system turns trained on]({CURVE})"
TOP = 5  # configurations of the leaderboard
AFTER_SCORE = ("to first", "Bleu", "Inform", "Success", "turns")


def write_card(export: Export) -> ModelCard:
    """The card. Raises ValueError where the client's classes refuse its metadata."""
    from huggingface_hub import ModelCard, ModelCardData

    data = ModelCardData(
        language="en",
        license=export.licence,
        library_name=name_library(export),
        base_model=export.base,
        base_model_relation=("finetune" if export.is_merged else "adapter")
        if export.base
        else None,
        pipeline_tag="text-generation",
        datasets=[export.data.hub_id] if export.data.hub_id else None,
        tags=["task-oriented-dialogue", "lora", "qlora", *(["gguf"] if export.gguf else [])],
        model_name=export.title,
        eval_results=to_model_index(export.scores, export.data),
    )
    sections = (
        *(introduce(export), load(export), use(export), ask(export), serve(export)),
        describe_use(export.choice.config, export.data.name),
        *(score(export), configure(export)),
        *(rank(export), CURVES, describe_merge(export), count_cost(export), license_(export)),
    )
    body = "\n\n".join(section for section in sections if section)
    return ModelCard(f"---\n{data.to_yaml()}\n---\n\n{body}\n")


def name_library(export: Export) -> str:
    if not export.has_weights:
        return "gguf"
    return "transformers" if export.is_merged else "peft"


def introduce(export: Export) -> str:
    choice, config = export.choice, export.choice.config
    link = f"[{export.base}](https://huggingface.co/{export.base})"
    what = f"A LoRA adapter of {link}"
    if export.is_merged:
        what = f"{link if export.base else 'A model'} with its LoRA adapter merged in,"
    question = choice.records.space.get("question")
    return "\n\n".join(
        [
            f"# {export.title}",
            f"{what} for the system's side of task-oriented dialogue, trained on "
            f"{choice.evaluation.turns_seen:,} system turns of {export.data.name} "
            f"({config.response} replies, base held in {config.quantisation}).",
            f"It is trial {choice.trial.id} of the hyperparameter search `{choice.records.name}`"
            + (f", which asked: {question}" if question else "."),
        ]
    )


def score(export: Export) -> str:
    names = list_names(export.scores)
    header = ["Split", "Dialogues", "Board", *map(capitalise, names)]
    rows = [
        [s.split, str(s.n_dialogues), s.board, *(s.show(metric) for metric in names)]
        for s in export.scores
    ]
    is_test_there = any(s.split == "test" for s in export.scores)
    return "\n\n".join(
        [
            "## Scores",
            to_markdown([header, *rows]),
            *filter(None, [tell_placeholders(export.scores)]),
            "In brackets: 95 % intervals over dialogues (bootstrap). "
            + ("Combined = (Inform + Success)/2 + BLEU. " if "combined" in names else "")
            + f"Every reply follows {describe_history(export.record['config'])}. The trial was "
            "chosen by its validation scores, which flatters them a little"
            + ("." if is_test_there else "; the test split has not been scored."),
        ]
    )


def capitalise(metric: str) -> str:
    return metric.capitalize() if metric in METRICS else label_objective(metric)


def tell_placeholders(scores: Sequence[Scored]) -> str:
    """How eagerly it offers values, which Inform and Success reward."""
    return " ".join(
        f"On {s.split} a reply has {s.placeholders['per_reply']:.2f} placeholders (the corpus's "
        f"own {s.placeholders['corpus_per_reply']:.2f}); turn by turn against the corpus their "
        f"precision is {s.placeholders['precision']:.1f}, their recall "
        f"{s.placeholders['recall']:.1f}, F1 {s.placeholders['f1']:.1f}."
        for s in scores
        if s.placeholders
    )


def configure(export: Export) -> str:
    choice = export.choice
    resolved, shown = choice.trial.resolved, export.record["config"]
    rows = [
        [f"`{name}`" + (" (searched)" if name in choice.trial.params else ""), format_value(value)]
        for name, value in shown.items()
    ]
    if resolved:
        rows.append(["adapted layers", format_value(label_modules(choice.trial))])
        rows.append(["trainable parameters", format_count(resolved.trainable_params)])
    return "## Configuration\n\n" + to_markdown([["Field", "Value"], *rows])


def rank(export: Export) -> str:
    entries = rank_trials(export.choice.records)
    cells = [to_cells(entry) for entry in entries[:TOP]]
    label = label_objective(export.choice.records.objective)
    rest = [c for c in AFTER_SCORE if any(row.get(c) for row in cells)]
    columns = ["rank", "trials", label, *rest]
    rows = [[row.get(column, "") for column in columns] for row in cells]
    first = f"first {len(rows)} of the " if len(rows) < len(entries) else ""
    return "\n\n".join(
        [
            f"## The {first}search's {len(entries)} configurations",
            to_markdown([columns, *rows]),
            "`~`: not significant (95 %, corrected for the number of comparisons).",
        ]
    )


def describe_merge(export: Export) -> str:
    figures = export.record.get(MERGED)
    if not figures:
        return ""
    told = [
        "## The merged model",
        f"Merged in fp32 into the weights that the trial was trained on and rounded to "
        f"{figures['dtype']}; read back, it equals what was written in every bit.",
    ]
    if figures["replies_as_recorded"] is not None:
        told.append(
            f"Of {figures['turns']} validation replies, {figures['replies_as_recorded']:.1%} are "
            "those recorded when the trial was scored."
        )
    if other := figures.get("original_weights"):
        told.append(
            "The base's 4-bit weights were brought back to numbers before the merge. The same "
            "adapter on the original weights is another model: its weights differ by "
            f"{other['weight_distance']:.1%}, its predictions by {other['kl_nats_per_token']:.4f} "
            f"nats a token (KL), and {other['same_replies']:.1%} of its replies are the same."
        )
    return "\n\n".join(told)


def count_cost(export: Export) -> str:
    resolved = export.choice.trial.resolved
    device = resolved.device if resolved and resolved.device else "cpu"
    hours = export.record["gpu_hours"]
    unit = "hours of one machine's CPU" if device == "cpu" else f"GPU-hours ({device})"
    cost = format_hours(hours, unit)
    return (
        f"## Cost\n\nThis trial, its validations included: {cost}; where trials share "
        "a device, its time is divided among those at work. No power was measured: kg CO2e = hours "
        "× the device's power in kW × the site's PUE × the grid's kg CO2e a kWh."
    )


def license_(export: Export) -> str:
    base = export.base or export.record["config"]["base_model"]
    of_base = export.licence or "unknown here; its own page tells it"
    return (
        f"## Licence\n\nThe base model {base}: {of_base}; its terms hold for what is "
        f"built on it. The data, {export.data.name} ({export.data.source}): "
        f"{export.data.licence or 'see there'}."
    )
