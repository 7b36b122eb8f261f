"""The Ray trainable: one worker carrying out leases, milestone by milestone.

The only importer of Ray below the search. Ray's own checkpoints are not used: a worker that
starts, for whatever reason, goes on from the trial's last whole checkpoint in the sweep's folder.
"""

from __future__ import annotations

import math
import os
import resource
import sys
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

import ray
from ray import tune as ray_tune

from trainable.activity import forget, tell
from trainable.beacon import Beacon
from trainable.checkpoint import find_last_whole, read_evaluation, write_checkpoint
from trainable.lease import Lease, Report
from trainable.remote_checkpoints import pull_last, push_checkpoint
from trainable.storage import StorageFault, check_there, insist
from trainable.trial import (
    OBJECTIVE,
    RESOURCE,
    ConfigError,
    Evaluation,
    Finetuner,
    Resolved,
    TrialConfig,
    TrialFailed,
)

POOL_NAMESPACE = SIGNS_NAMESPACE = "sweep"
LEASE_TIMEOUT_S = 1800.0  # for a slot to become free, and a model to be loaded
HEADER = "sweep.json"  # in the folder that holds the trials' checkpoints


class DialogueTrial(ray_tune.Trainable):
    """Config: {"lease": Lease}. Every result carries {"report": Report}."""

    def setup(self, config: dict[str, Any]) -> None:
        """Cheap on purpose: Ray may set up a worker that it never lets train."""
        self.lease: Lease = config["lease"]
        self.finetuner: Finetuner | None = None
        self.last: Evaluation | None = None

    def step(self) -> dict[str, Any]:
        started_s = time.time()
        notes: tuple[str, ...] = ()
        try:
            is_first = self.finetuner is None
            if self.finetuner is None:
                notes = self._open()
            evaluation = self._restored_evaluation(is_first) or self._advance()
        except (TrialFailed, ConfigError) as error:
            return self._end(started_s, failure=str(error))
        except StorageFault as error:
            return self._end(started_s, lost=str(error.strerror))
        except Exception as error:
            if is_out_of_memory(error):
                return self._end(started_s, failure=describe_shortage(error))
            raise  # the machinery's fault: Ray tries again, from the last checkpoint
        assert self.finetuner is not None
        report = Report(
            trial=self.lease.trial,
            evaluation=evaluation,
            resolved=self.finetuner.resolved if is_first else None,
            place=self._place(),
            started_s=started_s,
            notes=notes,
        )
        result = evaluation.result
        return {"report": report, RESOURCE: result.turns_seen, OBJECTIVE: result.combined}

    def _open(self) -> tuple[str, ...]:
        """Meets the model, and goes back to the last whole checkpoint if there is one."""
        light_beacon().trial = self.lease.trial
        tell("loading")
        insist(self._reach_storage)
        checkpoint, notes = find_last_whole(self.lease.checkpoints)
        if checkpoint is not None:
            self.last = read_evaluation(checkpoint.path)
        if self.lease.pool is not None:
            self.finetuner = PooledFinetuner(
                self.lease, self.lease.pool, None if checkpoint is None else checkpoint.path
            )
            forget()  # the engine tells
            return notes
        self.finetuner = open_finetuner(self.lease.config, "cuda" if ray.get_gpu_ids() else "cpu")
        if checkpoint is not None:
            self.finetuner.restore(checkpoint.path)
        return notes

    def _restored_evaluation(self, is_first: bool) -> Evaluation | None:
        """What the search may not have heard of: made and saved, but lost on its way."""
        if not is_first or self.last is None:
            return None
        is_new = self.last.result.turns_seen > self.lease.reported_turns
        return self.last if is_new or self._next_milestone() is None else None

    def _next_milestone(self) -> tuple[int, int] | None:
        seen = self.last.result.turns_seen if self.last is not None else -1
        return next((m for m in self.lease.milestones if m[0] > seen), None)

    def _advance(self) -> Evaluation:
        assert self.finetuner is not None
        milestone = self._next_milestone()
        assert milestone is not None, f"trial {self.lease.trial} went on past its end"
        turns, n_dialogues = milestone
        self.finetuner.train_until(turns)
        evaluation = self.finetuner.evaluate(n_dialogues)
        score: float | None = evaluation.result.combined
        if score is None or not math.isfinite(score):
            raise TrialFailed(f"{OBJECTIVE} is {score} after {turns} turns")
        insist(lambda: self._save(evaluation))
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

    def _end(
        self, started_s: float, failure: str | None = None, lost: str | None = None
    ) -> dict[str, Any]:
        report = Report(
            trial=self.lease.trial,
            failure=failure,
            lost=lost,
            place=self._place(),
            started_s=started_s,
        )
        return {"report": report, RESOURCE: 0}

    def _place(self) -> dict[str, Any]:
        gpus = ray.get_gpu_ids()
        own = {"node": os.uname().nodename, "gpu": gpus[0] if gpus else None, "pid": os.getpid()}
        return {**own, **getattr(self.finetuner, "place", {})}

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


@lru_cache(maxsize=1)
def light_beacon() -> Beacon:
    """This process's, for all its trials: the driver looks for the signs of its Ray job."""
    from ray.experimental import internal_kv

    job, gpus = ray.get_runtime_context().get_job_id(), ray.get_gpu_ids()
    key = f"{job}:{os.uname().nodename}:{os.getpid()}"
    beacon = Beacon(
        lambda sign: (
            ray.is_initialized()  # else nobody looks any more
            and internal_kv._internal_kv_put(key, sign, namespace=SIGNS_NAMESPACE)
        ),
        str(gpus[0]) if gpus else None,
    )
    beacon.start()
    return beacon


def open_finetuner(config: TrialConfig, device: str) -> Finetuner:
    """A trial alone in this process: a formula, an engine with one slot, or, where the engine
    cannot take it, transformers itself."""
    if is_toy(config):
        from trainable.toy import ToyFinetuner

        return ToyFinetuner(config)
    from trainable.alone import why_alone

    if why_alone(config) is not None:
        from trainable.full import open_plain

        return open_plain(config, device)
    from trainable.engine.finetuner import open_solo

    return open_solo(config, device)


def is_toy(config: TrialConfig) -> bool:
    return config.base_model.partition(":")[0] == "toy"


def is_out_of_memory(error: BaseException) -> bool:
    """Of the GPU or the host. torch's kind is known by its name: torch is not imported here."""
    is_torchs = type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error)
    return isinstance(error, MemoryError) or is_torchs


def describe_shortage(error: BaseException) -> str:
    """With the most that this process has held, and the first sentence of what was said."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        peak_gib = torch.cuda.max_memory_allocated() / 2**30
    else:
        peak_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    reason = str(error).partition(". ")[0].strip() or type(error).__name__
    return f"out of memory at {peak_gib:.1f} GiB: {reason}"


class PooledFinetuner:
    """A trial in a slot of an engine, which lives in another process, perhaps on another node.
    When the engine dies every verb raises; the next lease goes to another engine."""

    key: str
    engine: Any
    place: dict[str, Any]
    is_apart: bool  # the engine's node may not see this one's files

    def __init__(self, lease: Lease, pool: str, checkpoint: Path | None) -> None:
        self.pool = ray.get_actor(pool, namespace=POOL_NAMESPACE)
        try:
            self.key, self.engine, self.place = ray.get(
                self.pool.lease.remote(lease.trial, lease.config), timeout=LEASE_TIMEOUT_S
            )
        except TrialFailed as error:
            raise TrialFailed(str(getattr(error, "cause", error))) from None
        self.is_apart = lease.remote is not None
        self.resolved: Resolved = self._join(lease.config, checkpoint)

    def _join(self, config: TrialConfig, checkpoint: Path | None) -> Resolved:
        start: Any = None if checkpoint is None else str(checkpoint)
        if self.is_apart:
            start = {} if checkpoint is None else read_files(checkpoint)
        verb = "join_files" if self.is_apart else "join"
        resolved: Resolved = self._call(verb, config, start, timeout=LEASE_TIMEOUT_S)
        return resolved

    @property
    def turns_seen(self) -> int:
        return int(self._call("turns_seen"))

    def train_until(self, turns: int) -> None:
        self._call("train_until", turns)

    def evaluate(self, n_dialogues: int) -> Evaluation:
        evaluation: Evaluation = self._call("evaluate", n_dialogues)
        return evaluation

    def save(self, folder: Path) -> None:
        if self.is_apart:
            write_files(folder, self._call("save_files"))
        else:
            self._call("save", str(folder))

    def restore(self, folder: Path) -> None:
        raise NotImplementedError("a slot is restored when it is joined")

    def close(self) -> None:
        self.pool.release_key.remote(self.key)

    def _call(self, verb: str, *arguments: Any, timeout: float | None = None) -> Any:
        try:
            return ray.get(self.engine.call.remote(verb, self.key, *arguments), timeout=timeout)
        except ray.exceptions.RayActorError:
            self.pool.bury.remote(self.key)
            raise
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, TrialFailed | ConfigError):
                raise TrialFailed(str(error.cause)) from None
            if isinstance(error.cause, OSError | MemoryError):
                raise error.cause from None
            raise


def read_files(folder: Path) -> dict[str, bytes]:
    """Name -> content of all files below."""
    files = (p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}


def write_files(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
