"""A sweep's answer to its space's question: the choices side by side, and the sentences about
them, the same in the terminal, the report, the leaderboard and --json."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from analysis.cached import cached
from analysis.choice import PointResult
from analysis.claims.chance import expect_gain
from analysis.labels import (
    count_points,
    format_count,
    format_score,
    format_share,
    format_value,
    label_objective,
    label_params,
)
from analysis.ranking import Entry, Interval, rank
from analysis.records import SweepRecords
from analysis.rows import format_behind
from analysis.standing import Standing
from trainable.result import OBJECTIVE

MARGIN = 3.0  # points (see `count_points`): smaller differences count as none
MORE_TRIALS = 16
FEWEST_POINTS = 8  # from which on their spread tells what more would bring
SHOWN_POINTS = 5  # where single points are the choices


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One answer to the question: its highest point stands for it."""

    name: str
    entry: Entry
    gap: Interval | None  # behind the first choice, 95 %; None: seeds do not allow one
    is_behind: bool | None  # by more than chance makes; None: not known
    chance: float | None  # that one of its points is the best

    @property
    def is_equivalent(self) -> bool:
        """Whether its difference from the first lies within the margin, with its interval."""
        return self.gap is not None and max(map(abs, self.gap)) <= find_margin(self.entry)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a sweep answers to its question, and how surely."""

    question: str
    asked: str  # the field whose values are the choices; "": single points are
    turns: int  # of training, at which the choices are compared
    holds: str  # what the intervals hold
    n_seeds: tuple[int, int]  # of the choices compared, the fewest and the most
    n_dialogues: int
    n_compared: int  # points, for which the intervals are corrected
    is_adjusted: bool  # distances are as if all had trained with the seeds that some have
    choices: tuple[Choice, ...]  # trained to the end, in rank
    others: tuple[Choice, ...]  # stopped before
    expected_gain: float | None  # of the objective, by MORE_TRIALS more trials

    @property
    def is_settled(self) -> bool:
        """Whether seeds (or, where nothing is trained, dialogues) allow to compare at all."""
        return any(c.is_behind is not None for c in self.choices)

    @property
    def has_best(self) -> bool:
        return self.is_settled and all(c.is_behind for c in self.choices[1:])


@cached
def find_verdict(records: SweepRecords) -> Verdict | None:
    """None where nothing that was searched for has a score yet."""
    ranking = rank(records)
    entries = [e for e in ranking.entries if not e.trial.is_base and e.value is not None]
    if not entries:
        return None
    top = entries[0].milestone_turns
    asked = find_asked(records.space, entries)
    groups: dict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        groups[_name(entry, asked)].append(entry)
    choices = [_judge(name, group, entries[0]) for name, group in groups.items()]
    ended = [c for c in choices if c.entry.milestone_turns == top]
    if not asked:
        ended = ended[:SHOWN_POINTS]
    seeds = [len(c.entry.trials) for c in ended if c.is_behind is not None or c is ended[0]]
    standing = ranking.top
    return Verdict(
        question=str(records.space.get("question") or ""),
        asked=asked,
        turns=top,
        holds=entries[0].holds,
        n_seeds=(min(seeds), max(seeds)),
        n_dialogues=entries[0].evals[0].n_dialogues,
        n_compared=len(standing.compared) if standing else 0,
        is_adjusted=bool(standing and standing.is_adjusted),
        choices=tuple(ended),
        others=tuple(c for c in choices if c.entry.milestone_turns < top) if asked else (),
        expected_gain=_expect_gain(standing, entries),
    )


def find_asked(space: Mapping[str, Any], points: Sequence[PointResult]) -> str:
    """The field that the question is about: the one that the space is named after, else the first
    that is searched; none where this is a number, or where it took one value only."""
    searched = list(space.get("searched") or ())
    name = str(space.get("name"))
    field = name if name in searched else next(iter(searched), "")
    values = {format_value(e.trial.params[field]) for e in points if field in e.trial.params}
    is_number = any(
        isinstance(e.trial.params.get(field), int | float)
        and not isinstance(e.trial.params.get(field), bool)
        for e in points
    )
    return "" if is_number or len(values) < 2 else field


def _name(entry: Entry, asked: str) -> str:
    if not asked:
        return f"trial {entry.trial.id}"
    if asked not in entry.trial.params:
        return f"without {asked}"
    return format_value(entry.trial.params[asked])


def _judge(name: str, group: Sequence[Entry], first: Entry) -> Choice:
    """Behind are all of a choice's points, or the choice is not. Confirmed points are compared
    among themselves."""
    kind = (first.milestone_turns, first.is_confirmed)
    compared = [e for e in group if (e.milestone_turns, e.is_confirmed) == kind]
    behind = [e.is_behind for e in compared if e.is_behind is not None]
    chances = [e.chance for e in compared if e.chance is not None]
    return Choice(
        name=name,
        entry=group[0],
        gap=group[0].behind_interval if compared else None,
        is_behind=all(behind) if behind and group[0].rank != 1 else None,
        chance=sum(chances) if chances else None,
    )


def _expect_gain(standing: Standing | None, entries: Sequence[Entry]) -> float | None:
    """If of more trials as many reach the end as did so far, and are like those that did."""
    if standing is None or standing.posterior is None or standing.points[0].is_confirmed:
        return None
    if not standing.chances or len(standing.points) < FEWEST_POINTS:
        return None
    share = len(standing.points) / max(len(entries), 1)
    gain = expect_gain(standing.posterior, int(np.ceil(MORE_TRIALS * share)))
    return gain * standing.unit


def find_margin(entry: Entry) -> float:
    """MARGIN in the entry's objective."""
    return MARGIN * count_points(entry.objective, entry.value or 0.0)


def tabulate(verdict: Verdict) -> list[dict[str, str]]:
    """A row a choice: its name, the point that stands for it, its mean score, its distance from
    the first with its interval, the probability that it is the best, seeds, parameters, turns."""
    rows = [_to_cells(verdict, choice) for choice in (*verdict.choices, *verdict.others)]
    names = [
        n for n in dict.fromkeys(n for row in rows for n in row) if any(r.get(n) for r in rows)
    ]
    return [{n: row.get(n, "") for n in names} for row in rows]


def _to_cells(verdict: Verdict, choice: Choice) -> dict[str, str]:
    entry = choice.entry
    resolved, spread = entry.trial.resolved, entry.combined_interval
    half = f" ±{(spread[1] - spread[0]) / 2:.{entry.digits}f}" if spread else ""
    return {
        verdict.asked or "trial": choice.name.removeprefix("trial "),
        **_to_point_cells(verdict, choice),
        label_objective(entry.objective): format_score(entry.value, entry.objective) + half,
        "from the first": format_behind(entry),
        "P(best)": "" if choice.chance is None else format_share(choice.chance),
        "seeds": str(len(entry.trials)) if verdict.turns else "",
        "trainable": format_count((resolved and resolved.trainable_params) or None),
        "turns": str(entry.milestone_turns) if verdict.others else "",
    }


def _to_point_cells(verdict: Verdict, choice: Choice) -> dict[str, str]:
    """What else was searched: a column where that is one field, else all fields in one."""
    entries = [c.entry for c in (*verdict.choices, *verdict.others)]
    names = {n for e in entries for n in e.trial.params} - {"seed", verdict.asked}
    if not verdict.asked and len(entries) > 1:  # what all of them have says nothing of any
        names = {n for n in names if len({str(e.trial.params.get(n)) for e in entries}) > 1}
    own = {k: v for k, v in choice.entry.trial.params.items() if k in names}
    return (
        {k: format_value(v) for k, v in own.items()}
        if len(names) == 1
        else {"with": label_params(own)}
    )


def to_dict(verdict: Verdict | None, sentences: Sequence[str]) -> dict[str, Any]:
    """JSON-ready."""
    choices = (*verdict.choices, *verdict.others) if verdict else ()
    return {
        "verdict": list(sentences),
        "intervals_hold": verdict.holds if verdict else "",
        "expected_gain": verdict.expected_gain if verdict else None,
        "choices": [
            {
                "choice": c.name,
                "trials": [t.id for t in c.entry.trials],
                "params": {k: v for k, v in c.entry.trial.params.items() if k != "seed"},
                "objective": c.entry.objective,
                "value": c.entry.value,
                "value_interval": c.entry.combined_interval,
                "combined": c.entry.mean("combined"),
                "combined_interval": c.entry.combined_interval
                if c.entry.objective == OBJECTIVE
                else None,
                "from_first": c.entry.behind_first,
                "from_first_interval": c.gap,
                "is_behind": c.is_behind,
                "chance_of_best": c.chance,
                "seeds": len(c.entry.trials),
                "turns": c.entry.milestone_turns,
            }
            for c in choices
        ],
    }
