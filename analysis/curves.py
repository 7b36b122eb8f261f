"""What the record says over training and over time: curves, rungs, GPU time."""

import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise

from analysis.labels import label_objective
from analysis.records import EvalRecord, SweepRecords, TrialRecord

# decide how far a trial has come by so many turns
WAY = ("schedule", "decay_fraction", "warmup_turns", "batch_turns", "train_turns")
Gpu = tuple[str, str]  # node, index or UUID
Run = list[EvalRecord]


@dataclass(frozen=True, kw_only=True)
class Rung:
    """One milestone, and the trials there."""

    turns: int
    reached: int  # trials evaluated there
    stopped: int  # of these, trials that went no further although more was planned
    best: float | None  # the best value of the objective there
    lowest_loss: float | None = None  # nats a word


def count_rungs(trials: Iterable[TrialRecord], rungs_turns: Sequence[int]) -> list[Rung]:
    """How many of the searched trials reached each rung, and how many ended there; confirmations
    are no part of the race."""
    searched = [t for t in trials if not t.is_base and not t.is_confirmation]
    rungs = []
    for turns, following in zip(rungs_turns, [*rungs_turns[1:], None], strict=False):
        reached = [(t, e) for t in searched if (e := t.eval_at(turns))]
        there, ended = [e for _, e in reached], [t for t, _ in reached if t.state == "PRUNED"]
        stopped = [t for t in ended if following is None or not t.eval_at(following)]
        scores = [(e.score, e.value) for e in there if e.value is not None]
        losses = [e.nats_per_word for e in there if e.nats_per_word is not None]
        rungs.append(
            Rung(
                turns=turns,
                reached=len(there),
                stopped=len(stopped),
                best=max(scores)[1] if scores else None,
                lowest_loss=min(losses, default=None),
            )
        )
    return rungs


def common_turns(records: SweepRecords) -> int:
    """The rung at which choices are compared: the highest that at least two thirds of the searched
    trials reached, if they all stand at the same point of their way there; else the last, where
    schedules have ended. 0: none. Between the two only survivors are left, and choices that were
    mostly stopped would look good."""
    searched = [t for t in _raced(records) if _comparable(records, t)]
    reached = {
        level: [t for t in searched if _comparable(records, t)[-1].turns_seen >= level]
        for level in records.milestones_turns
        if level > 0
    }
    enough = [level for level, there in reached.items() if len(there) >= 2 * len(searched) / 3]
    rung = max(enough) if enough else min((k for k, there in reached.items() if there), default=0)
    last = max((level for level, there in reached.items() if there), default=0)
    return rung if rung == last or are_alike(reached[rung]) else last


def _raced(records: SweepRecords) -> list[TrialRecord]:
    """Confirmations left out: they were scored on other dialogues."""
    return [t for t in records.searched if t.state != "FAIL" and not t.is_confirmation]


def _comparable(records: SweepRecords, trial: TrialRecord) -> tuple[EvalRecord, ...]:
    """The evaluations with replies; where rungs decide by the loss, those with a loss too."""
    return trial.evals if records.config.get("rung_metric") == "loss" else trial.replied


def are_alike(trials: Iterable[TrialRecord]) -> bool:
    """Whether the trials stand at the same point of their way after equally many turns: with one
    schedule, one length and one batch size."""
    return len({tuple(str(t.config.get(name)) for name in WAY) for t in trials}) <= 1


def scores_at(records: SweepRecords, turns: int) -> dict[str, float]:
    """Trial -> the objective at that milestone, or the loss where none made replies there (see
    `is_by_loss`); the untuned base, confirmations and trials that never got there left out: one
    fidelity, never a mixture."""
    by_loss = is_by_loss(records, turns)
    there = {t.id: _find_at(records, t, turns) for t in _raced(records)}
    values = {t: e.nats_per_word if by_loss else e.value for t, e in there.items() if e}
    return {t: value for t, value in values.items() if value is not None}


def is_by_loss(records: SweepRecords, turns: int) -> bool:
    """Whether what compares trials at that milestone is nats a word: lower is better."""
    there = [e for t in _raced(records) if (e := _find_at(records, t, turns))]
    return bool(there) and all(e.value is None for e in there)


def is_lower_better(records: SweepRecords, turns: int) -> bool:
    """Of what `scores_at` tells: the loss, or an objective of that direction."""
    return is_by_loss(records, turns) or records.sign < 0


def name_scores(records: SweepRecords, turns: int) -> str:
    """What `scores_at` gives there: `Combined at 400`."""
    name = "loss" if is_by_loss(records, turns) else records.objective
    return f"{label_objective(name)} at {turns}"


def _find_at(records: SweepRecords, trial: TrialRecord, turns: int) -> EvalRecord | None:
    """The trial's first evaluation at that milestone."""
    evals = _comparable(records, trial)
    found = next((e for e in evals if e.turns_seen >= turns), None)
    return found if found and records.milestone_turns(found.turns_seen) == turns else None


def split_by_dialogues(evals: Sequence[EvalRecord]) -> tuple[list[Run], list[Run]]:
    """(the stretches of evaluations on equally many dialogues, the last of each with the first of
    the next): a line along the first compares scores, one along the second does not."""
    runs = [list(run) for _, run in groupby(evals, key=lambda e: e.n_dialogues)]
    return runs, [[one[-1], following[0]] for one, following in pairwise(runs)]


def gpu_of(evaluation: EvalRecord) -> Gpu:
    place = evaluation.place
    return str(place.get("node", "")), str(place.get("gpu") or 0)


def name_hours(trials: Iterable[TrialRecord]) -> str:
    """What an hour is an hour of: `GPU-hours`, or where no evaluation had a GPU `machine-hours`,
    whatever the number of cores."""
    places = [e.place for t in trials for e in t.evals]
    return "GPU-hours" if any(p.get("gpu") is not None for p in places) else "machine-hours"


def find_lanes(spans: Sequence[tuple[float, float]]) -> list[int]:
    """A lane for each (start, end), so that spans in one lane do not overlap.

    >>> find_lanes([(0, 2), (1, 3), (2, 4)])
    [0, 1, 0]
    """
    lanes = [0] * len(spans)
    free_s: list[float] = []  # when each lane ends
    for i in sorted(range(len(spans)), key=lambda i: spans[i]):
        start, end = spans[i]
        free = [k for k, until in enumerate(free_s) if until <= start + 1e-3]
        lanes[i] = free[0] if free else len(free_s)
        free_s[lanes[i] : lanes[i] + 1] = [end]
    return lanes


def measure_gpu_hours(trials: Iterable[TrialRecord]) -> dict[str, float]:
    """Trial -> hours of its GPU: where several trials share one, each moment is divided evenly
    among those at work."""
    spans: dict[Gpu, list[tuple[float, float, str]]] = defaultdict(list)
    hours: dict[str, float] = {}
    for trial in trials:
        hours[trial.id] = 0.0
        for e in (e for e in trial.evals if e.started_s):  # earlier records do not say when
            spans[gpu_of(e)].append((e.started_s, e.time_s, trial.id))
    for on_gpu in spans.values():
        for trial_id, seconds in _share_time(on_gpu).items():
            hours[trial_id] += seconds / 3600.0
    return hours


def count_gpu_hours(trials: Iterable[TrialRecord]) -> float:
    """The sum of what `measure_gpu_hours` tells: the time in which some trial was at work, over all
    GPUs."""
    spans: dict[Gpu, list[tuple[float, float]]] = defaultdict(list)
    for trial in trials:
        for e in trial.evals:
            if e.started_s:
                spans[gpu_of(e)].append((e.started_s, e.time_s))
    return sum(map(_cover_s, spans.values())) / 3600.0


def _cover_s(spans: Iterable[tuple[float, float]]) -> float:
    """Seconds that lie in at least one of the spans.

    >>> _cover_s([(4.0, 6.0), (0.0, 2.0), (1.0, 3.0)])
    5.0
    """
    total_s, seen_s = 0.0, 0.0
    for started_s, ended_s in sorted(spans):
        total_s += max(ended_s - max(started_s, seen_s), 0.0)
        seen_s = max(seen_s, ended_s)
    return total_s


def _share_time(spans: Sequence[tuple[float, float, str]]) -> dict[str, float]:
    """Seconds by trial: between two events each running span gets an equal part."""
    events = sorted(
        [(start, 1, owner) for start, end, owner in spans if end > start]
        + [(end, -1, owner) for start, end, owner in spans if end > start]
    )
    running: dict[str, int] = {}  # spans by owner, of those at work only
    seconds: dict[str, float] = defaultdict(float)
    before, share_s = 0.0, 0.0  # what an owner at work all the time would have got
    for time_s, change, owner in events:
        share_s += (time_s - before) / len(running) if running else 0.0
        before = time_s
        if owner not in running:
            running[owner] = 0
            seconds[owner] -= share_s
        running[owner] += change
        if not running[owner]:
            del running[owner]
            seconds[owner] += share_s
    return dict(seconds)


def worked_s(
    trials: Iterable[TrialRecord], since_s: float | None = None, until_s: float | None = None
) -> float:
    """Seconds of a sweep's work: those in which some trial was at work under former drivers, and
    all from when the present one began at `since_s` (unix time; None: there is none) to `until_s`
    (None: now)."""
    evals = [e for t in trials for e in t.evals if since_s is None or e.time_s <= since_s]
    total_s = _cover_s((e.started_s, e.time_s) for e in evals if e.started_s)
    if since_s is None:
        return total_s
    return total_s + (time.time() if until_s is None else until_s) - since_s


def trained_turns(trials: Iterable[TrialRecord]) -> int:
    """System turns trained on, over all trials."""
    return sum(t.evals[-1].turns_seen for t in trials if t.evals)


def draw_sparkline(values: Sequence[float], *, low: float = 0.0, high: float = 100.0) -> str:
    """A curve as eight heights of block.

    >>> draw_sparkline([0, 50, 100])
    '▁▅█'
    """
    blocks = "▁▂▃▄▅▆▇█"
    span = max(high - low, 1e-9)
    return "".join(blocks[min(7, max(0, int((v - low) / span * 8)))] for v in values)
