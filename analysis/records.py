"""Reads a sweep's folder into frozen records: the only way from `runs/NAME` to the analysis."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from analysis.header import FORMAT as FORMAT  # `X as X`: a reader of records needs it, too
from analysis.header import read_header as read_header
from analysis.ledger import EventKey
from analysis.ledger import Ledger as Ledger
from analysis.lines import Lines
from analysis.trials import BASE_ID as BASE_ID
from analysis.trials import BASE_NUMBER as BASE_NUMBER
from analysis.trials import CONFIRMATION as CONFIRMATION
from analysis.trials import EARLY_SEEDS as EARLY_SEEDS
from analysis.trials import RUNNING as RUNNING
from analysis.trials import STATES as STATES
from analysis.trials import EvalRecord as EvalRecord
from analysis.trials import RungDecision as RungDecision
from analysis.trials import TrialRecord as TrialRecord
from analysis.trials import find_milestone as find_milestone
from analysis.trials import is_unfinished as is_unfinished
from analysis.trials import list_milestones as list_milestones
from trainable.evaluation.objective import name_spelt
from trainable.result import OBJECTIVE
from trainable.storage.remote import fetch_sweep, is_remote, locate
from trainable.trial import ConfigError, nearest


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
    order: tuple[EventKey, ...] = ()  # what happened, in the order in which it did
    parked: frozenset[str] = frozenset()  # trials that their last rung did not send on
    n_numbers: int = 0  # all below may have been given out, also to trials that are lost
    n_events: int = 0  # lines that could be read

    @property
    def scored(self) -> tuple[TrialRecord, ...]:
        """The trials with a value of the objective that did not fail."""
        return tuple(t for t in self.trials if t.replied and t.state != "FAIL")

    @property
    def objective(self) -> str:
        """What trials are compared by: combined, loss, ... or a Python function's name."""
        return name_objective(self.config)

    @property
    def sign(self) -> int:
        """Of the objective: -1 where lower is better."""
        return -1 if self.config.get("direction") == "min" else 1

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
        """The searched ones whose values lie in the space: not clones outside of it."""
        own = (t for t in self.searched if t.origin is None or t.origin.get("in_study"))
        return tuple(t for t in own if find_outside(self.space, t) is None)

    @property
    def is_running(self) -> bool:
        """True while trials lack an end or are still to come."""
        return is_unfinished(self.trials, self.config, self.exhausted_at)

    @cached_property
    def milestones_turns(self) -> tuple[int, ...]:
        """The common milestones in system turns, ascending: 0, the rungs, the end."""
        return list_milestones(self.trials, self.config)

    def milestone_turns(self, turns_seen: int) -> int:
        """The highest milestone reached with `turns_seen`."""
        return find_milestone(self.milestones_turns, turns_seen)

    def count_states(self) -> dict[str, int]:
        """The number of trials by state, the untuned base left out, in the order of STATES."""
        states = [t.state for t in self.searched]
        return {state: states.count(state) for state in STATES if state in states}

    @property
    def n_waiting(self) -> int:
        """Of those whose state is RUNNING, how many wait at a rung."""
        return sum(t.state == RUNNING and t.id in self.parked for t in self.searched)

    def describe_states(self) -> str:
        """`3 complete, 1 running, 12 waiting`: who waits at a rung does not run."""
        counts = self.count_states()
        counts[RUNNING] = counts.get(RUNNING, 0) - self.n_waiting
        told = {**counts, "waiting": self.n_waiting}
        return ", ".join(f"{n} {state.lower()}" for state, n in told.items() if n)


def name_objective(config: Mapping[str, Any]) -> str:
    """Of a SweepConfig: combined, loss, ... or a Python function's name.

    >>> name_objective({"objective": "python:file.py:helpful"}), name_objective({})
    ('helpful', 'combined')
    """
    return name_spelt(str(config.get("objective") or OBJECTIVE))


def find_sweep(name: str | Path, storage: str | Path = "runs") -> Path:
    """The sweep's folder: a path, a name in the storage, or an example that ships with the package
    (example/sweep, ...). One at s3://BUCKET/PREFIX/NAME is brought into the cache. Raises
    ConfigError if there is none."""
    if is_remote(str(name)):
        storage, _, own = str(name).rstrip("/").rpartition("/")
        name = Path(locate(storage)) / own
        fetch_sweep(name)
    else:
        fetch_sweep(Path(storage) / name)
    for folder in (Path(name), Path(storage) / name, Path(__file__).parent / name):
        if (folder / "sweep.json").is_file():
            return folder
    raise ConfigError(describe_missing(str(name), Path(storage)))


def describe_missing(name: str, storage: Path) -> str:
    """That there is no such sweep, and which there are."""
    there = sorted(p.parent.name for p in storage.glob("*/sweep.json"))
    return f"no sweep (a folder with sweep.json) is called {name!r}{nearest(name, there)}: " + (
        f"give one of {', '.join(there)}" if there else f"there is none under {storage}"
    )


def read_sweep(folder: Path) -> SweepRecords:
    """What the folder records, whether the sweep has ended or not. Lines that cannot be read (a
    torn last one) become warnings. Raises ConfigError when the folder is no sweep's, or of a
    newer format than this version reads."""
    header = read_header(folder)
    ledger, lines = Ledger(), Lines(folder)
    for number, event in lines.read_on():
        ledger.add(event, number)
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
        warnings=(*lines.warnings, *ledger.warnings, *_check_space(space, trials)),
        exhausted_at=ledger.exhausted_at,
        decisions=tuple(ledger.decisions),
        order=tuple(ledger.order),
        parked=frozenset(ledger.parked),
        n_numbers=ledger.n_numbers,
        n_events=lines.n_events,
    )


def find_outside(space: Mapping[str, Any], trial: TrialRecord) -> str | None:
    """The first of the trial's fields whose value the space cannot draw; None: there is none."""
    for name, distribution in (space.get("searched") or {}).items():
        if name in trial.params and not _is_drawn(trial.params[name], distribution["attributes"]):
            return str(name)
    return None


def _is_drawn(value: Any, attributes: Mapping[str, Any]) -> bool:
    """By a distribution, as Optuna writes its attributes."""
    if "choices" in attributes:
        return value in attributes["choices"]
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and bool(attributes["low"] <= value <= attributes["high"])


def _check_space(space: Mapping[str, Any], trials: Iterable[TrialRecord]) -> list[str]:
    searched = set(space.get("searched") or ())
    known = [t for t in trials if not t.is_base and t.origin is None]
    if unknown := [t.id for t in known if not set(t.params) <= searched]:
        return [f"trials of another space than {space.get('name')}: {', '.join(unknown)}"]
    found = ((t, find_outside(space, t)) for t in known)
    return [
        f"trial {t.id} has {name}={t.params[name]!r}, which the space does not draw: nothing is "
        "learnt from it"
        for t, name in found
        if name is not None
    ]
