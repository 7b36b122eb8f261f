"""What the search hands to a worker, and what it gets back: the few words between the two."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from trainable.evaluation.objective import COMBINED, Objective
from trainable.result import Evaluation, Resolved, ValidationRequest
from trainable.storage.remote import Remote
from trainable.training_curve import TrainingCurve
from trainable.trial import TrialConfig
from trainable.worker.wire import Place


class Milestone(NamedTuple):
    """Where a trial is validated, and on what."""

    turns: int  # system turns trained on
    asked: ValidationRequest


@dataclass(frozen=True, kw_only=True)
class Lease:
    """One stretch of work on one trial: from its last checkpoint until it is told to stop."""

    trial: str
    config: TrialConfig
    milestones: tuple[Milestone, ...]  # ascending; the last is the trial's end
    reported_turns: int  # turns_seen of the last evaluation the search knows; -1: none
    checkpoints: Path  # the folder of this trial's checkpoints, seen by every node
    remote: Remote | None = None  # where they are, if on no node's disk: `checkpoints` is a copy
    objective: Objective = COMBINED  # what its evaluations are to be measured by
    pool: str | None = None  # the name of the engine pool's actor; None: alone in its process
    avoided: tuple[str, ...] = ()  # Ray's ids of the nodes where it must not be carried out
    versions: Mapping[str, str] = field(default_factory=dict)  # the driver's; empty: any will do

    def find_reached(self, turns: int) -> Milestone:
        """The last one that so many turns reach: a batch may be longer than the way between two."""
        return [milestone for milestone in self.milestones if milestone.turns <= turns][-1]


@dataclass(frozen=True, kw_only=True)
class NodeFault:
    """What a machine is at fault for, and not a trial."""

    node: str  # Ray's id
    name: str  # for people
    reason: str
    is_lack: bool = False  # of what some trials need; otherwise the node serves none


@dataclass(frozen=True, kw_only=True)
class Report:
    """One milestone reached, or the reason why none will be."""

    trial: str
    evaluation: Evaluation | None = None  # None: the trial failed
    failure: str | None = None
    lost: str | None = None  # the storage took no checkpoint, and why: not the trial's fault
    fault: NodeFault | None = None  # the node's: with `lost`, if nobody else has lost the storage
    curve: TrainingCurve | None = None  # of the training up to here, or to the failure
    resolved: Resolved | None = None  # with the first report of a worker
    place: Place | None = None
    worked_s: float = 0.0  # seconds of work for this report
    opening_s: float | None = None  # of those, until the trial had its model; None: it had it
    notes: tuple[str, ...] = ()  # what the operator should know: a torn checkpoint, say
