"""Folds a sweep's events into trials, one at a time: the live table, the budget and the report
agree on what an event means."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from analysis.lines import Numbered, name_line
from analysis.trials import (
    BASE_ID,
    BASE_NUMBER,
    RUNNING,
    STATES,
    EvalRecord,
    RungDecision,
    TrialRecord,
)
from analysis.values import NUMBER, build, check, check_value, pick, to_plain
from trainable.result import Resolved
from trainable.system.inside import is_trial_id

MOST_NUMBERS = 10**8  # a number above is not given out after
HIGHEST = {"bleu": 100, "inform": 100, "success": 100, "combined": 200}
EventKey = tuple[str, str, int]  # trial | eval | end; the trial; the turns of an evaluation


class Ledger:
    """Trials as the events tell them."""

    def __init__(self) -> None:
        self.trials: dict[str, TrialRecord] = {}
        self.notes: list[str] = []
        self.exhausted_at: int | None = None
        self.decisions: list[RungDecision] = []
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
        except (KeyError, TypeError, ValueError) as error:
            where = name_line(line) if line else f"{event.get('event')} event"
            why = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
            self._left_out.append(f"{where} is left out: {why}")

    def _add(self, event: Mapping[str, Any], line: int) -> None:
        kind = event["event"]
        if kind == "note":
            self._note(event)
        elif kind == "rung":
            self.decisions.append(read_decision(event))
        elif kind in ("trial", "resolved", "eval", "end"):
            self._tell_trial(kind, read_id(event), event, line)
        else:
            raise ValueError(f"no event is called {kind!r}")

    def _note(self, event: Mapping[str, Any]) -> None:
        self.notes.append(check(str, "text", event["text"]))
        if "exhausted_at" in event:
            at = event["exhausted_at"]
            self.exhausted_at = None if at is None else check(int, "exhausted_at", at)

    def _tell_trial(self, kind: str, name: str, event: Mapping[str, Any], line: int) -> None:
        if name != BASE_ID and int(name) < MOST_NUMBERS:
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
        trial = TrialRecord(
            id=event["trial"],
            number=check(int, "number", event["number"]),
            params=to_plain(check(dict, "params", event["params"])),
            config=to_plain(check(dict, "config", event["config"])),
            resolved=known.resolved if known else None,
            evals=known.evals if known else (),
            origin=check_origin(event.get("origin")),
            proposal=check_proposal(event.get("proposal")),
            started_s=known.started_s if known else read_time(event),
        )
        check(int, "train_turns", trial.config.get("train_turns", 0))
        if trial.number != (BASE_NUMBER if trial.id == BASE_ID else int(trial.id)):
            raise ValueError(f"trial {trial.id} cannot have the number {trial.number}")
        if known is not None:
            check_again(known, trial)
            self.order.pop(("end", trial.id, 0), None)
        return trial

    def _resolved(self, trial: TrialRecord, event: Mapping[str, Any]) -> TrialRecord:
        values = pick(Resolved, event)
        modules = tuple(values.get("modules", ()))
        return change(trial, resolved=Resolved(**{**values, "modules": modules}))

    def _eval(self, trial: TrialRecord, event: Mapping[str, Any]) -> TrialRecord:
        result = read_eval(event)
        kept = [e for e in trial.evals if e.turns_seen != result.turns_seen]
        evals = tuple(sorted([*kept, result], key=lambda e: e.turns_seen))
        self.order.setdefault(("eval", trial.id, result.turns_seen))
        if ("end", trial.id, 0) in self.order:  # lines changed places: an end is the last
            self._end_last(trial.id)
        return change(trial, evals=evals)

    def _end(self, trial: TrialRecord, event: Mapping[str, Any]) -> TrialRecord:
        state = event["state"]
        if state not in STATES:
            raise ValueError(f"a state is one of {', '.join(STATES)}, not {state!r}")
        if trial.state != RUNNING:
            raise ValueError(f"trial {trial.id} has ended before: {trial.state}")
        if state == "COMPLETE" and not trial.is_evaluated_at_end:
            raise ValueError(f"trial {trial.id} is not evaluated at its end: it is not complete")
        reason = event.get("reason")
        self._end_last(trial.id)
        return change(
            trial,
            state=state,
            reason=None if reason is None else check(str, "reason", reason),
            ended_s=read_time(event),
        )

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


def check_proposal(proposal: Any) -> Mapping[str, Any] | None:
    if proposal is None:
        return None
    check(str, "why", check(dict, "proposal", proposal)["why"])
    return dict(proposal)


def check_origin(origin: Any) -> Mapping[str, Any] | None:
    if origin is None:
        return None
    check(dict, "set", check(dict, "origin", origin)["set"])
    check(bool, "in_study", origin["in_study"])
    return dict(origin)


def read_decision(event: Mapping[str, Any]) -> RungDecision:
    values = pick(RungDecision, event)
    return RungDecision(**{**values, "trials": tuple(values["trials"])})


def read_id(event: Mapping[str, Any]) -> str:
    name: str = event["trial"]
    if not is_trial_id(name):
        raise ValueError(f"no trial is called {name!r:.60}")
    return name


def read_time(event: Mapping[str, Any]) -> float:
    return float(check(float, "time_s", event.get("time_s", 0.0)))


def check_objective(told: Mapping[str, Any]) -> None:
    """Raises KeyError, TypeError, ValueError."""
    check(str, "objective's name", told["name"])
    check_value("objective's value", told["value"], NUMBER)
    if told["direction"] not in ("max", "min"):
        raise ValueError(f"a direction is max or min, not {told['direction']!r:.60}")


def read_eval(values: Mapping[str, Any]) -> EvalRecord:
    """The evaluation an event spells; fields of other versions are left out or take defaults.
    Raises KeyError when one without a default lacks, TypeError or ValueError when one is of another
    kind or not finite."""
    known = pick(EvalRecord, values)
    if known["turns_seen"] < 0:
        raise ValueError(f"turns_seen cannot be {known['turns_seen']}")
    for name, highest in HIGHEST.items():
        if known[name] is not None and not 0 <= known[name] <= highest:
            raise ValueError(f"{name} must lie in [0, {highest}], not {known[name]!r}")
    if known.get("objective") is not None:
        check_objective(known["objective"])
    known["intervals"] = {k: (float(a), float(b)) for k, (a, b) in known["intervals"].items()}
    record: EvalRecord = build(EvalRecord, known)
    return record
