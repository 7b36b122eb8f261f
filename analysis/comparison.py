"""Two trials side by side, of one sweep or of two: their scores, and the same dialogues."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from analysis.examples import Example, Responses, line_up, read_corpus, read_outcomes
from analysis.examples import read_responses as read_all_responses
from analysis.labels import format_count, label_modules
from analysis.noise import DialogueCounts, draw_combined, read_counts
from analysis.ranking import rank_trials
from analysis.records import EvalRecord, SweepRecords, TrialRecord, find_sweep, read_sweep
from trainable.evaluation.bootstrap import find_interval
from trainable.trial import ConfigError

COLUMNS = ("", "LLM model", "params", "Bleu", "Success", "Inform", "Richness", "Combined")


@dataclass(frozen=True, kw_only=True)
class Side:
    """One of the two trials."""

    label: str
    records: SweepRecords
    trial: TrialRecord

    @property
    def last(self) -> EvalRecord:
        assert self.trial.last is not None
        return self.trial.last


def find_side(name: str) -> Side:
    """`SWEEP` (its best trial) or `SWEEP:TRIAL` (`base`: the untuned model). Raises ConfigError
    when there is no such sweep, or no score of that trial."""
    sweep, _, wanted = name.partition(":")
    records = read_sweep(find_sweep(sweep))
    scored = {t.id: t for t in records.scored}
    tuned = [e.trial for e in rank_trials(records) if not e.trial.is_base]
    trial = scored.get(wanted) if wanted else next(iter(tuned), scored.get("base"))
    if trial is None:
        raise ConfigError(
            f"--compare needs a trial with a score, and {name} is none: take one of "
            + (", ".join(f"{sweep}:{t}" for t in scored) or "a sweep that has any")
        )
    return Side(label=f"{records.name}:{trial.id}", records=records, trial=trial)


def compare(one: Side, other: Side, *, examples: int = 3) -> str:
    """Markdown: both trials in the lab's columns, the difference in Combined with its 95 %
    interval over the dialogues that both answered, and `examples` of those dialogues."""
    table = [COLUMNS, ("---",) * len(COLUMNS), to_cells(one), to_cells(other)]
    blocks = [
        "\n".join("| " + " | ".join(cells) + " |" for cells in table),
        describe_difference(one, other),
        *(render_example(example) for example in choose_shared(one, other, examples)),
    ]
    return "\n\n".join(blocks)


def to_cells(side: Side) -> tuple[str, ...]:
    last, resolved = side.last, side.trial.resolved
    low, high = last.intervals.get("combined", (None, None))
    spread = f" [{low:.1f}, {high:.1f}]" if low is not None and high is not None else ""
    richness = last.richness.get("msttr")
    return (
        f"{side.label} ({label_modules(side.trial)})",
        str(side.trial.config.get("base_model", "")),
        format_count(resolved.total_params if resolved else None),
        *(f"{value:.1f}" for value in (last.bleu, last.success, last.inform)),
        "" if richness is None else f"{richness:.2f}",
        f"{last.combined:.1f}{spread}",
    )


def describe_difference(one: Side, other: Side) -> str:
    counts = [read_counts(s.records.folder, s.trial.id) for s in (one, other)]
    if one.last.states != other.last.states:
        return (
            f"Not comparable: {one.label} was scored with {one.last.states} states, "
            f"{other.label} with {other.last.states} ones."
        )
    shared = set(counts[0].ids if counts[0] else ()) & set(counts[1].ids if counts[1] else ())
    if not shared:
        return "No dialogue was answered by both: the difference cannot be told from noise."
    first, second = (draw_combined([restrict(c, shared)]) for c in counts if c is not None)
    low, high = find_interval(second - first)
    mean = float(np.mean(second - first))
    verdict = "inside the noise" if low <= 0 <= high else "more than noise"
    return (
        f"{other.label} against {one.label} on {len(shared)} common {other.last.split} dialogues: "
        f"Combined {mean:+.1f} [{low:+.1f}, {high:+.1f}] (95 %, paired): {verdict}."
    )


def restrict(counts: DialogueCounts, ids: set[str]) -> DialogueCounts:
    kept = [place for place, name in enumerate(counts.ids) if name in ids]
    return replace(counts, ids=tuple(counts.ids[i] for i in kept), counts=counts.counts[kept])


def choose_shared(one: Side, other: Side, count: int) -> list[Example]:
    """Dialogues that both answered, those with different outcomes first."""
    sides = {s.label: s for s in (one, other)}
    responses: Mapping[str, Responses] = {
        label: read_all_responses(s.records, s.trial.id) for label, s in sides.items()
    }
    outcomes = {label: read_outcomes(s.records, s.trial.id) for label, s in sides.items()}
    common = set.intersection(*(set(r) for r in responses.values()))
    ranked = sorted(common, key=lambda d: (-len({o.get(d) for o in outcomes.values()}), d))
    corpus = read_corpus(one.trial) if ranked else {}
    is_lexical = one.trial.config.get("response") == "lexicalised"
    return [
        Example(
            dialogue=name,
            outcomes={label: found.get(name, "") for label, found in outcomes.items()},
            exchanges=line_up(responses, name, corpus.get(name), is_lexical),
        )
        for name in ranked[:count]
    ]


def render_example(example: Example) -> str:
    lines = [f"### {example.dialogue}", ""]
    for exchange in example.exchanges:
        lines.append(f"- user: {exchange.user}")
        lines.append(f"  - corpus: {exchange.gold}")
        lines += [f"  - {reply.trial}: {reply.text}" for reply in exchange.replies]
    outcomes = ", ".join(f"{label}: {how}" for label, how in example.outcomes.items())
    return "\n".join([*lines, "", f"Outcome: {outcomes}."])
