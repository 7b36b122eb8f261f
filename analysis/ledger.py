"""Folds a sweep's events into trials, one at a time: the live table, the budget and the report
agree on what an event means."""

import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from types import NoneType
from typing import Any, Literal

from msgspec import convert

from analysis.lines import Numbered, name_line
from analysis.trials import BASE_ID, BASE_NUMBER, RUNNING, EvalRecord, RungDecision, TrialRecord
from trainable.result import Resolved
from trainable.system.inside import is_trial_id

MOST_NUMBERS = 10**8  # a number above is not given out after
HIGHEST = {"bleu": 100, "inform": 100, "success": 100, "combined": 200}
PLAIN = frozenset({str, int, float, bool, NoneType})  # what a field of a trial may be
EventKey = tuple[str, str, int]  # trial | eval | end; the trial; the turns of an evaluation


@dataclass(frozen=True, kw_only=True)
class Begun:
    """A trial's own line."""

    trial: str
    number: int
    params: dict[str, Any]
    config: dict[str, Any]
    origin: dict[str, Any] | None = None
    proposal: dict[str, Any] | None = None
    time_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What every clone's and confirmation's origin has."""

    set: dict[str, Any]
    in_study: bool


@dataclass(frozen=True, kw_only=True)
class Ended:
    state: Literal["COMPLETE", "PRUNED", "RUNNING", "FAIL"]
    reason: str | None = None
    time_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Note:
    text: str
    exhausted_at: int | None = None


@dataclass(frozen=True, kw_only=True)
class Compared:
    """What an evaluation's objective tells."""

    name: str
    direction: Literal["max", "min"]
    value: float | None


class Ledger:
    """Trials as the events tell them."""

    def __init__(self) -> None:
        self.trials: dict[str, TrialRecord] = {}
        self.notes: list[str] = []
        self.exhausted_at: int | None = None
        self.decisions: list[RungDecision] = []
        self.parked: set[str] = set()  # trials that their last rung did not send on
        self.order: dict[EventKey, None] = {}  # what happened, in the order in which it did
        self.n_numbers = 0  # all below may have been given out, also to trials that are lost
        self.n_told = 0  # events; nothing changes without one
        self._left_out: list[str] = []
        self._waiting: dict[str, list[Numbered]] = defaultdict(list)  # for their trial's own line

    @property
    def warnings(self) -> list[str]:
        """What does not fit, one line each."""
        waiting = sorted(
            (line, trial) for trial, known in self._waiting.items() for line, _ in known
        )
        return self._left_out + [
            f"{name_line(line)} is left out: it is of trial {trial}, whose own line is lost"
            for line, trial in waiting
        ]

    def add(self, event: Mapping[str, Any], line: int = 0) -> None:
        """Takes one event. `line`: of evals.jsonl; 0: it comes from the recorder itself."""
        self.n_told += 1
        try:
            self._add(event, line)
        except (KeyError, ValueError) as error:
            where = name_line(line) if line else f"{event.get('event')} event"
            why = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
            self._left_out.append(f"{where} is left out: {why}")

    def _add(self, event: Mapping[str, Any], line: int) -> None:
        kind = event["event"]
        if kind == "note":
            self._note(event)
        elif kind == "rung":
            self._rung(convert(event, RungDecision))
        elif kind in ("trial", "resolved", "eval", "end"):
            self._tell_trial(kind, read_id(event), event, line)
        else:
            raise ValueError(f"no event is called {kind!r}")

    def _rung(self, decision: RungDecision) -> None:
        self.decisions.append(decision)
        change = self.parked.difference_update if decision.goes_on else self.parked.update
        change(decision.trials)

    def _note(self, event: Mapping[str, Any]) -> None:
        note = convert(event, Note)
        self.notes.append(note.text)
        if "exhausted_at" in event:
            self.exhausted_at = note.exhausted_at

    def _tell_trial(self, kind: str, name: str, event: Mapping[str, Any], line: int) -> None:
        if name not in self.trials and name != BASE_ID and int(name) < MOST_NUMBERS:
            self.n_numbers = max(self.n_numbers, int(name) + 1)
        if kind == "trial":
            self.trials[name] = self._open(event, self.trials.get(name))
            self.order.setdefault(("trial", name, 0))
            if name != BASE_ID:  # which is begun anew where its line is lost
                for number, waiting in self._waiting.pop(name, ()):
                    self.add(waiting, number)
        elif name not in self.trials and line:
            self._waiting[name].append((line, event))
        else:
            self.trials[name] = getattr(self, f"_{kind}")(self.trials[name], event)

    def _open(self, event: Mapping[str, Any], known: TrialRecord | None) -> TrialRecord:
        begun = convert(event, Begun)
        trial = TrialRecord(
            id=begun.trial,
            number=begun.number,
            params=to_plain(begun.params),
            config=to_plain(begun.config),
            resolved=known.resolved if known else None,
            evals=known.evals if known else (),
            origin=begun.origin,
            proposal=begun.proposal,
            started_s=known.started_s if known else begun.time_s,
        )
        convert(trial.config.get("train_turns", 0), int)
        if trial.origin is not None:
            convert(trial.origin, Origin)
        if trial.proposal is not None:
            convert(trial.proposal["why"], str)
        if trial.number != (BASE_NUMBER if trial.id == BASE_ID else int(trial.id)):
            raise ValueError(f"trial {trial.id} cannot have the number {trial.number}")
        if known is not None:
            check_again(known, trial)
            self.order.pop(("end", trial.id, 0), None)
        return trial

    def _resolved(self, trial: TrialRecord, event: Mapping[str, Any]) -> TrialRecord:
        return change(trial, resolved=convert(event, Resolved))

    def _eval(self, trial: TrialRecord, event: Mapping[str, Any]) -> TrialRecord:
        result = read_eval(event)
        kept = [e for e in trial.evals if e.turns_seen != result.turns_seen]
        evals = tuple(sorted([*kept, result], key=lambda e: e.turns_seen))
        self.order.setdefault(("eval", trial.id, result.turns_seen))
        self.parked.discard(trial.id)
        if ("end", trial.id, 0) in self.order:  # lines changed places: an end is the last
            self._end_last(trial.id)
        return change(trial, evals=evals)

    def _end(self, trial: TrialRecord, event: Mapping[str, Any]) -> TrialRecord:
        ended = convert(event, Ended)
        if trial.state != RUNNING:
            raise ValueError(f"trial {trial.id} has ended before: {trial.state}")
        if ended.state == "COMPLETE" and not trial.is_evaluated_at_end:
            raise ValueError(f"trial {trial.id} is not evaluated at its end: it is not complete")
        self._end_last(trial.id)
        return change(trial, state=ended.state, reason=ended.reason, ended_s=ended.time_s)

    def _end_last(self, trial: str) -> None:
        self.order.pop(("end", trial, 0), None)
        self.order["end", trial, 0] = None


def change(trial: TrialRecord, **values: Any) -> TrialRecord:
    """As `dataclasses.replace`, in a fifth of its time."""
    changed = object.__new__(TrialRecord)
    changed.__dict__.update(trial.__dict__, **values)
    return changed


def check_again(known: TrialRecord, trial: TrialRecord) -> None:
    """A trial's line comes again only where the trial is made longer, or the untuned model tried
    once more. Raises ValueError."""
    if trial.is_base and known.state in (RUNNING, "FAIL"):
        return
    turns = [t.config.get("train_turns", 0) for t in (known, trial)]
    others = [{n: v for n, v in t.config.items() if n != "train_turns"} for t in (known, trial)]
    if others[0] != others[1] or turns[0] > turns[1]:
        raise ValueError(f"it tells of another trial {trial.id} than the line before")
    if turns[0] == turns[1] and known.state != RUNNING:
        raise ValueError(f"trial {trial.id} has ended before: {known.state}")


def read_id(event: Mapping[str, Any]) -> str:
    name: str = event["trial"]
    if not is_trial_id(name):
        raise ValueError(f"no trial is called {name!r:.60}")
    return name


def read_eval(event: Mapping[str, Any]) -> EvalRecord:
    """The evaluation that an event spells; fields of other versions are left out or take defaults.
    Raises ValueError where one lacks that has none, or is of another kind."""
    result = convert(event, EvalRecord)
    if result.turns_seen < 0:
        raise ValueError(f"turns_seen cannot be {result.turns_seen}")
    for name, highest in HIGHEST.items():
        value = getattr(result, name)
        if value is not None and not 0 <= value <= highest:
            raise ValueError(f"{name} must lie in [0, {highest}], not {value!r}")
    if result.objective is not None:
        convert(result.objective, Compared)
    return result


def to_plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Fields as a trial has them; what no field can be (a list, an object) as its text.

    >>> to_plain({"lora_rank": 8, "seed": [1, 2]})
    {'lora_rank': 8, 'seed': '[1, 2]'}
    """
    if PLAIN.issuperset(map(type, values.values())):
        return dict(values)
    return {name: v if type(v) in PLAIN else json.dumps(v) for name, v in values.items()}
