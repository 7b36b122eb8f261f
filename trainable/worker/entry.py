"""The Ray trainable: one worker carrying out leases, milestone by milestone.

Ray's own checkpoints are not used: a worker that starts, for whatever reason, goes on from the
trial's last whole checkpoint in the sweep's folder.
"""

from __future__ import annotations

import math
import os
import time
from typing import Any

import ray
from ray import tune as ray_tune

from trainable.finetuner import Finetuner, SlotFinetuner
from trainable.result import RESOURCE, Evaluation
from trainable.solo.choose import open_finetuner
from trainable.storage.checkpoint import find_last_whole, read_evaluation, write_checkpoint
from trainable.storage.remote_checkpoints import pull_last, push_checkpoint
from trainable.system.activity import forget, tell
from trainable.system.retries import StorageFault, check_there, retry_io
from trainable.system.shortage import describe_shortage, is_out_of_memory
from trainable.trial import ConfigError, TrialFailed
from trainable.worker.heartbeat import start_heartbeat
from trainable.worker.lease import Lease, Milestone, Report
from trainable.worker.node import Unfit, blame_storage, check_versions, find_fault
from trainable.worker.objective import apply_objective
from trainable.worker.remote import take_slot
from trainable.worker.wire import LeasedSlot, Place

HEADER = "sweep.json"  # in the folder that holds the trials' checkpoints


class DialogueTrial(ray_tune.Trainable):
    """Config: {"lease": Lease}. Every result carries {"report": Report}."""

    def setup(self, config: dict[str, Any]) -> None:
        """Cheap on purpose: Ray may set up a worker that it never lets train."""
        self.lease: Lease = config["lease"]
        self.finetuner: Finetuner | None = None
        self.last: Evaluation | None = None
        self.slot: LeasedSlot | None = None  # of an engine, where the trial has one

    def step(self) -> dict[str, Any]:
        started_s, opening_s = time.monotonic(), None
        notes: tuple[str, ...] = ()
        try:
            is_first = self.finetuner is None
            if self.finetuner is None:
                notes = self._open()
                opening_s = time.monotonic() - started_s
            evaluation = self._restored_evaluation(is_first) or self._advance()
        except StorageFault as error:
            fault = blame_storage(error, is_copy=self.lease.remote is not None)
            return self._end(started_s, lost=str(error.strerror), fault=fault)
        except Unfit as error:
            return self._end(started_s, fault=error.fault)
        except Exception as error:
            if fault := find_fault(error):
                return self._end(started_s, fault=fault)
            curve = None if self.finetuner is None else self.finetuner.curve
            if isinstance(error, TrialFailed | ConfigError):
                return self._end(started_s, failure=str(error), curve=curve)
            if is_out_of_memory(error):
                return self._end(started_s, failure=describe_shortage(error), curve=curve)
            raise  # the machinery's fault: Ray tries again, from the last checkpoint
        assert self.finetuner is not None
        report = Report(
            trial=self.lease.trial,
            evaluation=evaluation,
            curve=self.finetuner.curve,
            resolved=self.finetuner.resolved if is_first else None,
            place=self._place(),
            worked_s=time.monotonic() - started_s,
            opening_s=opening_s,
            notes=notes,
        )
        result = evaluation.result
        return {"report": report, RESOURCE: result.turns_seen}

    def _open(self) -> tuple[str, ...]:
        """Meets the model, and goes back to the last whole checkpoint if there is one."""
        start_heartbeat().trial = self.lease.trial
        tell("loading")
        check_versions(self.lease.versions)
        retry_io(self._reach_storage)
        checkpoint, notes = find_last_whole(self.lease.checkpoints, to_train=True)
        start = None if checkpoint is None else checkpoint.path
        if start is not None:
            self.last = read_evaluation(start)
        if self.lease.pool is not None:
            self.slot, engine = take_slot(self.lease, self.lease.pool)
            self.finetuner = SlotFinetuner(engine, self.slot.key, self.lease.config, start)
            forget()  # the engine tells
            return notes
        device = "cuda" if ray.get_gpu_ids() else "cpu"
        keeps = device == "cpu"  # a GPU's memory is others' between two trials
        self.finetuner = open_finetuner(self.lease.config, device, start, keeps=keeps)
        return notes

    def _restored_evaluation(self, is_first: bool) -> Evaluation | None:
        """What the search may not have heard of: made and saved, but lost on its way."""
        if not is_first or self.last is None:
            return None
        is_new = self.last.result.turns_seen > self.lease.reported_turns
        return self.last if is_new or self._next_milestone() is None else None

    def _next_milestone(self) -> Milestone | None:
        """What the search knows already is not measured twice, where a trial begins again without
        a checkpoint."""
        last = self.last.result.turns_seen if self.last is not None else -1
        seen = max(last, self.lease.reported_turns)
        return next((m for m in self.lease.milestones if m.turns > seen), None)

    def _advance(self) -> Evaluation:
        assert self.finetuner is not None
        milestone = self._next_milestone()
        assert milestone is not None, f"trial {self.lease.trial} went on past its end"
        self.finetuner.train_until(milestone.turns)
        turns, asked = self.lease.find_reached(self.finetuner.turns_seen)
        evaluation = self.finetuner.evaluate(asked)
        evaluation = apply_objective(
            self.lease.objective, evaluation, self.lease.config, asked.n_dialogues
        )
        result, objective = evaluation.result, self.lease.objective.name
        score = result.value if asked.replies else result.nats_per_word
        if score is None or not math.isfinite(score):
            name = objective if asked.replies else "nats_per_word"
            raise TrialFailed(f"{name} is {score} after {turns} turns")
        retry_io(lambda: self._save(evaluation))
        self.last = evaluation
        return evaluation

    def _save(self, evaluation: Evaluation) -> None:
        assert self.finetuner is not None
        place = write_checkpoint(self.lease.checkpoints, self.finetuner, evaluation)
        if self.lease.remote is not None:
            push_checkpoint(self.lease.remote, place)

    def _reach_storage(self) -> None:
        if self.lease.remote is not None:
            self.lease.checkpoints.mkdir(parents=True, exist_ok=True)
            pull_last(self.lease.remote, self.lease.checkpoints)
        self._check_storage()

    def _check_storage(self) -> None:
        """A storage that is away looks like one without checkpoints."""
        if self.lease.remote is None:
            check_there(self.lease.checkpoints.parent.parent / HEADER)

    def _end(self, started_s: float, **why: Any) -> dict[str, Any]:
        worked_s = time.monotonic() - started_s
        report = Report(trial=self.lease.trial, place=self._place(), worked_s=worked_s, **why)
        return {"report": report, RESOURCE: 0}

    def _place(self) -> Place:
        if self.slot is not None:
            engine = self.slot.place
            there: dict[str, Any] = {"node": engine.node, "gpu": engine.gpu}
            return Place(**there, pid=os.getpid(), engine_pid=engine.pid, slot=self.slot.number)
        gpus = ray.get_gpu_ids()
        return Place(node=os.uname().nodename, gpu=gpus[0] if gpus else None, pid=os.getpid())

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing: the checkpoints are in the sweep's folder."""

    def load_checkpoint(self, checkpoint: Any) -> None:
        """Nothing, likewise."""

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Another lease for the same process."""
        self.cleanup()
        self.setup(new_config)
        return True

    def cleanup(self) -> None:
        if self.finetuner is not None:
            self.finetuner.close()
            self.finetuner = None
