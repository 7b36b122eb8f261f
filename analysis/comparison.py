"""Two trials side by side, of one sweep or of two: their scores, and the same dialogues."""

from dataclasses import dataclass, replace

from analysis.examples import Example, choose_examples
from analysis.labels import (
    LABELS,
    format_count,
    format_rate,
    format_score,
    label_modules,
    label_objective,
    to_markdown,
)
from analysis.noise import DialogueCounts, draw_values, read_counts, score_sums
from analysis.ranking import rank_trials
from analysis.records import EvalRecord, SweepRecords, TrialRecord, find_sweep, read_sweep
from trainable.evaluation.bootstrap import find_interval
from trainable.trial import ConfigError

EARLIER = {"corpus": "the corpus's", "own": "its own"}
COLUMNS = ("", "LLM model", "params", "Bleu", "Success", "Inform", "Richness")


@dataclass(frozen=True, kw_only=True)
class Side:
    """One of the two trials."""

    label: str
    records: SweepRecords
    trial: TrialRecord

    @property
    def last(self) -> EvalRecord:
        return self.trial.replied[-1]


def find_side(name: str) -> Side:
    """`SWEEP` (its best trial) or `SWEEP:TRIAL` (`base`: the untuned model). Raises ConfigError
    when there is no such sweep, or no score of that trial."""
    sweep, _, wanted = name.partition(":")
    records = read_sweep(find_sweep(sweep))
    scored = {t.id: t for t in records.scored}
    tuned = [e.trial for e in rank_trials(records) if e.trial.id in scored and not e.trial.is_base]
    trial = scored.get(wanted) if wanted else next(iter(tuned), scored.get("base"))
    if trial is None:
        raise ConfigError(
            f"--compare needs a trial with a score, and {name} is none: take one of "
            + (", ".join(f"{sweep}:{t}" for t in scored) or "a sweep that has any")
        )
    return Side(label=f"{records.name}:{trial.id}", records=records, trial=trial)


def compare(one: Side, other: Side, *, examples: int = 3) -> str:
    """Markdown: both trials in the lab's columns, the difference in their objective with its 95 %
    interval over the dialogues that both answered, and `examples` of those dialogues."""
    columns = (*COLUMNS, label_objective(other.last.name))
    sides = {side.label: (side.records, side.trial) for side in (one, other)}
    blocks = [
        to_markdown([columns, to_cells(one), to_cells(other)]),
        describe_difference(one, other),
        *map(render_example, choose_examples(sides, count=examples)),
    ]
    return "\n\n".join(blocks)


def to_cells(side: Side) -> tuple[str, ...]:
    last, resolved = side.last, side.trial.resolved
    low, high = last.intervals.get(last.name, (None, None))
    spread = f" [{low:.1f}, {high:.1f}]" if low is not None and high is not None else ""
    richness = last.richness.get("msttr")
    return (
        f"{side.label} ({label_modules(side.trial)})",
        str(side.trial.config.get("base_model", "")),
        format_count(resolved.total_params if resolved else None),
        *(format_rate(value) for value in (last.bleu, last.success, last.inform)),
        "" if richness is None else f"{richness:.2f}",
        f"{format_score(last.value, last.name)}{spread}",
    )


def describe_difference(one: Side, other: Side) -> str:
    counts = [read_counts(s.records.folder, s.trial.id, s.last.name) for s in (one, other)]
    configs = [s.trial.config for s in (one, other)]
    for what, values in (
        ("objective", [s.last.name for s in (one, other)]),
        ("states", [s.last.states for s in (one, other)]),
        ("replies", [c.get("response", "delexicalised") for c in configs]),
        ("earlier replies", [EARLIER[c.get("earlier_replies", "corpus")] for c in configs]),
    ):
        if values[0] != values[1]:
            return (
                f"Not comparable: {one.label} was scored with {values[0]} {what}, "
                f"{other.label} with {values[1]} ones."
            )
    shared = set(counts[0].ids if counts[0] else ()) & set(counts[1].ids if counts[1] else ())
    if not shared:
        return "No dialogue was answered by both: the difference cannot be told from noise."
    first, second = (restrict(c, shared) for c in counts if c is not None)
    low, high = find_interval(draw_values(second) - draw_values(first))
    difference, digits = observe(second) - observe(first), 1 if other.last.name in LABELS else 3
    may = "may" if low <= 0 <= high else "do not"
    return (
        f"{other.label} against {one.label} on {len(shared)} common {other.last.split} dialogues: "
        f"{label_objective(other.last.name)} {difference:+.{digits}f} "
        f"[{low:+.{digits}f}, {high:+.{digits}f}] (95 %, paired by dialogue). "
        f"The choice of dialogues {may} make such a difference by chance; of other seeds it says "
        "nothing."
    )


def observe(counts: DialogueCounts) -> float:
    sums = counts.counts.sum(axis=0)[None]
    return float(score_sums(len(counts.ids), sums, counts.objective)[0])


def restrict(counts: DialogueCounts, ids: set[str]) -> DialogueCounts:
    kept = [place for place, name in enumerate(counts.ids) if name in ids]
    return replace(counts, ids=tuple(counts.ids[i] for i in kept), counts=counts.counts[kept])


def render_example(example: Example) -> str:
    lines = [f"### {example.dialogue}", ""]
    for exchange in example.exchanges:
        lines.append(f"- user: {exchange.user}")
        lines.append(f"  - corpus: {exchange.gold}")
        lines += [f"  - {reply.trial}: {reply.text}" for reply in exchange.replies]
    outcomes = ", ".join(f"{label}: {how}" for label, how in example.outcomes.items())
    return "\n".join([*lines, "", f"Outcome: {outcomes}."])
