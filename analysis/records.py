"""Reads a sweep's folder into frozen records: the only way from `runs/NAME` to the analysis.

`Ledger` folds the events of `evals.jsonl` one at a time, so that the live table and the report
agree on what an event means.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any

from trainable.storage.remote import bring_sweep, is_remote, locate
from trainable.system.inside import is_trial_id
from trainable.trial import ConfigError, EvalResult, Resolved

FORMAT = 1
BASE_ID, BASE_NUMBER = "base", -1  # the untuned model
RUNNING = "RUNNING"
STATES = ("COMPLETE", "PRUNED", "RUNNING", "FAIL")
CONFIRMATION = "confirm"  # kind of a trial's origin


@dataclass(frozen=True, kw_only=True)
class EvalRecord(EvalResult):
    """An evaluation with where and when it was made."""

    place: Mapping[str, Any] = field(default_factory=dict)  # node, gpu, slot
    started_s: float = 0.0  # unix time at which the work for this result began
    time_s: float = 0.0  # unix time at which it was recorded


@dataclass(frozen=True, kw_only=True)
class RungDecision:
    """What a rung decided of a point, and on what."""

    turns: int
    trials: tuple[str, ...]  # the point's seeds
    metric: str  # combined | loss (nats a word; lower is better)
    value: float  # the mean over the seeds
    goes_on: bool  # with asha=promote False: it waits until it is among the best
    time_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class TrialRecord:
    id: str
    number: int  # -1: the untuned base
    params: Mapping[str, Any]  # the searched fields that exist for this trial
    config: Mapping[str, Any]  # TrialConfig.to_dict(), as recorded
    resolved: Resolved | None = None  # None until the trial met its model
    evals: tuple[EvalRecord, ...] = ()  # in the order of turns_seen
    state: str = RUNNING  # one of STATES
    reason: str | None = None  # why it failed or was stopped
    started_s: float = 0.0
    ended_s: float | None = None
    # of a clone: {"trial", "set", "warm", "in_study", "request"}; of a confirmation: {"kind",
    # "trial", "set", "warm", "in_study"}; None: it was proposed
    origin: Mapping[str, Any] | None = None

    @property
    def last(self) -> EvalRecord | None:
        return self.evals[-1] if self.evals else None

    @property
    def replied(self) -> tuple[EvalRecord, ...]:
        """The evaluations with replies, and so with a Combined."""
        return tuple(e for e in self.evals if e.combined is not None)

    @property
    def is_base(self) -> bool:
        return self.number < 0

    @property
    def is_confirmation(self) -> bool:
        """Whether it repeats one of the best points with a fresh seed, after the race."""
        return self.origin is not None and self.origin.get("kind") == CONFIRMATION

    def eval_at(self, turns: int) -> EvalRecord | None:
        """The first evaluation at or after `turns`: what the rung there was decided on."""
        return next((e for e in self.evals if e.turns_seen >= turns), None)


@dataclass(frozen=True, kw_only=True, eq=False)
class SweepRecords:
    """A folder as it was when it was read; equal to itself only, so that rankings can be kept."""

    folder: Path
    name: str
    space: Mapping[str, Any]  # name, question, searched, fixed
    config: Mapping[str, Any]  # SweepConfig
    versions: Mapping[str, str]
    commit: str | None
    created_s: float
    trials: tuple[TrialRecord, ...]  # by number, the untuned base first
    notes: tuple[str, ...]  # restarts, resumes, deaths of engines
    warnings: tuple[str, ...]  # what could not be read or does not fit, one line each
    exhausted_at: int | None = None  # so many proposals left no point of the space
    decisions: tuple[RungDecision, ...] = ()  # in their order

    @property
    def scored(self) -> tuple[TrialRecord, ...]:
        """The trials with a Combined that did not fail."""
        return tuple(t for t in self.trials if t.replied and t.state != "FAIL")

    @property
    def searched(self) -> tuple[TrialRecord, ...]:
        """All but the untuned base."""
        return tuple(t for t in self.trials if not t.is_base)

    @property
    def proposed(self) -> tuple[TrialRecord, ...]:
        """The searched ones without clones."""
        return tuple(t for t in self.searched if t.origin is None)

    @property
    def studied(self) -> tuple[TrialRecord, ...]:
        """The searched ones without clones that lie outside the space."""
        return tuple(t for t in self.searched if t.origin is None or t.origin.get("in_study"))

    @property
    def is_running(self) -> bool:
        """True while trials lack an end or are still to come."""
        return is_unfinished(self.trials, self.config, self.exhausted_at)

    @cached_property
    def levels_turns(self) -> tuple[int, ...]:
        """The common stations of training in system turns, ascending: 0, the rungs, the end."""
        return list_levels(self.trials, self.config)

    def level_turns(self, turns_seen: int) -> int:
        """The highest station reached with `turns_seen`."""
        return find_level(self.levels_turns, turns_seen)

    def count_states(self) -> dict[str, int]:
        """The number of trials by state, the untuned base left out, in the order of STATES."""
        states = [t.state for t in self.searched]
        return {state: states.count(state) for state in STATES if state in states}


def list_levels(trials: Iterable[TrialRecord], config: Mapping[str, Any]) -> tuple[int, ...]:
    """See `SweepRecords.levels_turns`."""
    rungs = {int(r) for r in config.get("rungs_turns") or ()}
    ends = {int(t.config.get("train_turns") or 0) for t in trials}
    return tuple(sorted({0, *rungs, *ends}))


def find_level(levels_turns: Iterable[int], turns_seen: int) -> int:
    """The highest of the levels reached with `turns_seen`."""
    return max(level for level in levels_turns if level <= max(turns_seen, 0))


def is_unfinished(
    trials: Iterable[TrialRecord], config: Mapping[str, Any], exhausted_at: int | None
) -> bool:
    """Whether trials lack an end or are still to come, under the SweepConfig `config`."""
    known, wanted = tuple(trials), int(config.get("trials") or 0)
    proposed = sum(not t.is_base and t.origin is None for t in known)
    is_to_come = proposed < wanted and exhausted_at is None
    is_confirmed = any(t.is_confirmation for t in known) or not config.get("confirm")
    has_ended = any(t.state == "COMPLETE" and not t.is_base for t in known)
    if has_ended and not is_confirmed:
        return True
    return is_to_come or any(t.state == RUNNING for t in known)


class Ledger:
    """Trials as the events tell them."""

    def __init__(self) -> None:
        self.trials: dict[str, TrialRecord] = {}
        self.notes: list[str] = []
        self.warnings: list[str] = []
        self.exhausted_at: int | None = None
        self.decisions: list[RungDecision] = []

    def add(self, event: Mapping[str, Any]) -> None:
        """Takes one event of evals.jsonl. What does not fit becomes a warning."""
        kind = event.get("event")
        try:
            if kind == "note":
                self.notes.append(str(event["text"]))
                self.exhausted_at = event.get("exhausted_at", self.exhausted_at)
            elif kind == "trial":
                self._open(event)
            elif kind == "rung":
                known = _known(RungDecision, event)
                self.decisions.append(RungDecision(**{**known, "trials": tuple(event["trials"])}))
            elif kind in ("resolved", "eval", "end"):
                trial = self.trials[event["trial"]]
                self.trials[trial.id] = getattr(self, f"_{kind}")(trial, event)
        except (KeyError, TypeError, ValueError) as error:
            self.warnings.append(f"{kind} event left out: {type(error).__name__} {error}")

    def _open(self, event: Mapping[str, Any]) -> None:
        check_name(event["trial"], event["number"])
        known = self.trials.get(event["trial"])
        self.trials[event["trial"]] = TrialRecord(
            id=event["trial"],
            number=int(event["number"]),
            params=to_plain(event["params"]),
            config=to_plain(event["config"]),
            resolved=known.resolved if known else None,
            evals=known.evals if known else (),
            origin=event.get("origin"),
            started_s=known.started_s if known else float(event.get("time_s", 0.0)),
        )

    def _resolved(self, trial: TrialRecord, event: Mapping[str, Any]) -> TrialRecord:
        values = _known(Resolved, event)
        return replace(
            trial, resolved=Resolved(**{**values, "modules": tuple(values.get("modules", ()))})
        )

    def _eval(self, trial: TrialRecord, event: Mapping[str, Any]) -> TrialRecord:
        result = read_eval(event)
        if result.combined is not None and not math.isfinite(result.combined):
            raise ValueError(f"trial {trial.id} has a score that is not finite")
        kept = [e for e in trial.evals if e.turns_seen != result.turns_seen]
        evals = tuple(sorted([*kept, result], key=lambda e: e.turns_seen))
        return replace(trial, evals=evals)

    def _end(self, trial: TrialRecord, event: Mapping[str, Any]) -> TrialRecord:
        if event["state"] not in STATES:
            raise ValueError(f"state {event['state']!r} is not one of {', '.join(STATES)}")
        return replace(
            trial,
            state=event["state"],
            reason=event.get("reason"),
            ended_s=float(event.get("time_s", 0.0)),
        )


def check_name(trial: Any, number: Any) -> None:
    """Raises ValueError unless a trial is called `base`, or by its number: folders are named
    after it, and one that is called `../../x` is somebody else's."""
    if not is_trial_id(trial) or number != (BASE_NUMBER if trial == BASE_ID else int(trial)):
        raise ValueError(f"a trial cannot be called {trial!r} with the number {number!r}")


def read_eval(values: Mapping[str, Any]) -> EvalRecord:
    """The evaluation an event spells; fields of other versions are left out or take defaults.
    Raises KeyError when one without a default lacks."""
    known = _known(EvalRecord, values)
    for name, is_needed in _list_fields(EvalRecord).items():
        if is_needed and name not in known:
            raise KeyError(name)
    intervals = {k: (float(a), float(b)) for k, (a, b) in (known["intervals"] or {}).items()}
    return EvalRecord(**{**known, "intervals": intervals, "place": known.get("place") or {}})


def _known(kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: values[name] for name in _list_fields(kind) if name in values}


@cache
def _list_fields(kind: type) -> dict[str, bool]:
    """Field -> whether it has no default."""
    bare = (MISSING, MISSING)
    return {f.name: (f.default, f.default_factory) == bare for f in fields(kind)}


def find_sweep(name: str | Path) -> Path:
    """The sweep's folder: a path, a name under runs/, or an example that ships with the package
    (example/sweep, ...). One at s3://BUCKET/PREFIX/NAME is brought into the cache. Raises
    ConfigError if there is none."""
    if is_remote(str(name)):
        storage, _, own = str(name).rstrip("/").rpartition("/")
        name = Path(locate(storage)) / own
        bring_sweep(name)
    for folder in (Path(name), Path("runs") / name, Path(__file__).parent / name):
        if (folder / "sweep.json").is_file():
            return folder
    there = sorted(p.parent.name for p in Path("runs").glob("*/sweep.json"))
    raise ConfigError(
        f"no sweep (a folder with sweep.json) at {name} or runs/{name}: "
        + (f"give one of {', '.join(there)}" if there else "start one with python -m tune.run")
    )


def read_sweep(folder: Path) -> SweepRecords:
    """What the folder records, whether the sweep has ended or not. Lines that cannot be read (a
    torn last one) become warnings. Raises ConfigError when the folder is no sweep's, or of a
    newer format than this version reads."""
    header = read_header(folder)
    ledger = Ledger()
    for event in _read_events(folder / "evals.jsonl", ledger.warnings):
        ledger.add(event)
    trials = tuple(sorted(ledger.trials.values(), key=lambda t: (t.number, t.id)))
    space = header.get("space") or {}
    return SweepRecords(
        folder=folder,
        name=str(header.get("name") or folder.name),
        space=space,
        config=header.get("config") or {},
        versions=header.get("versions") or {},
        commit=header.get("commit"),
        created_s=float(header.get("created_s") or 0.0),
        trials=trials,
        notes=tuple(ledger.notes),
        warnings=(*ledger.warnings, *_check_space(space, trials)),
        exhausted_at=ledger.exhausted_at,
        decisions=tuple(ledger.decisions),
    )


def read_header(folder: Path) -> dict[str, Any]:
    """What `sweep.json` says. Raises ConfigError as `read_sweep` does."""
    path = folder / "sweep.json"
    try:
        header = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{folder} is not a sweep's folder: it has no sweep.json") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read ({error}): restore it or start anew") from error
    version = header.get("format") if isinstance(header, dict) else None
    if not isinstance(version, int):
        raise ConfigError(f"{path} states no format: it is not a sweep's record")
    if version > FORMAT:
        raise ConfigError(
            f"{path} has format {version}, this version reads up to {FORMAT}: update the package"
        )
    return header


def _read_events(path: Path, warnings: list[str]) -> Iterable[dict[str, Any]]:
    if not path.exists():
        return
    lines = path.read_bytes().split(b"\n")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            event = json.loads(line)
        except ValueError:
            where = "the torn last line" if number == len(lines) else f"line {number}"
            warnings.append(f"{where} of {path.name} cannot be read and is left out")
            continue
        if isinstance(event, dict):
            yield event


def _check_space(space: Mapping[str, Any], trials: Iterable[TrialRecord]) -> list[str]:
    searched = set(space.get("searched") or ())
    known = [t for t in trials if not t.is_base and t.origin is None]
    strangers = [t.id for t in known if not set(t.params) <= searched]
    if not strangers:
        return []
    return [f"trials of another space than {space.get('name')}: {', '.join(strangers)}"]


def to_plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Fields as a trial has them; what no field can be (a list, not a number) as its text.

    >>> to_plain({"lora_rank": 8, "seed": [1, 2]})
    {'lora_rank': 8, 'seed': '[1, 2]'}
    """
    return {name: v if is_plain(v) else json.dumps(v) for name, v in values.items()}


def is_plain(value: Any) -> bool:
    is_number = isinstance(value, float) and math.isfinite(value)
    return is_number or value is None or isinstance(value, str | int)
