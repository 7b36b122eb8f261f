"""An engine in another process, perhaps on another node, and how a trial gets one of its slots."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import ray
from ray.actor import ActorHandle

from trainable.finetuner import Unscored
from trainable.result import Resolved, ValidationRequest
from trainable.training_curve import TrainingCurve
from trainable.trial import CannotPack, ConfigError, TrialConfig, TrialFailed
from trainable.worker.lease import Lease
from trainable.worker.node import Unfit
from trainable.worker.wire import Files, LeasedSlot

if TYPE_CHECKING:
    from trainable.worker.engine_actor import EngineActor

POOL_NAMESPACE = "sweep"
LEASE_TIMEOUT_S = 1800.0  # for a slot to become free, and a model to be loaded
T = TypeVar("T")


class RemoteEngine:
    """See EngineProtocol: the trials' end of an EngineActor. When the engine dies every method
    raises, and the pool is told; the next lease goes to another engine."""

    measured = None  # as the pool was told

    def __init__(self, actor: type[EngineActor], pool: ActorHandle, *, sees_files: bool) -> None:
        self.actor, self.pool = actor, pool
        self.sees_files = sees_files  # whether its node sees the checkpoints of this one

    def join(self, key: str, config: TrialConfig, start: Path | None) -> Resolved:
        there = start if self.sees_files or start is None else Files.read(start)
        joined = self.actor.join.remote(key, config, there)
        return self._wait(key, joined, timeout_s=LEASE_TIMEOUT_S)

    def turns_seen(self, key: str) -> int:
        return self._wait(key, self.actor.turns_seen.remote(key))

    def curve(self, key: str) -> TrainingCurve:
        return self._wait(key, self.actor.curve.remote(key))

    def train_until(self, key: str, turns: int) -> None:
        self._wait(key, self.actor.train_until.remote(key, turns))

    def evaluate(self, key: str, asked: ValidationRequest) -> Unscored:
        return self._wait(key, self.actor.evaluate.remote(key, asked))

    def save(self, key: str, folder: Path) -> None:
        if self.sees_files:
            self._wait(key, self.actor.save.remote(key, folder))
        else:
            self._wait(key, self.actor.send_files.remote(key)).write(folder)

    def leave(self, key: str) -> None:
        """By way of the pool, which hands the slot to another trial."""
        self.pool.release_key.remote(key)

    def close(self) -> None:
        """Nothing: the pool ends its engines."""

    def _wait(self, key: str, reference: ray.ObjectRef[T], timeout_s: float | None = None) -> T:
        try:
            return ray.get(reference, timeout=timeout_s)
        except ray.exceptions.RayActorError:
            self.pool.drop_dead.remote(key)
            raise
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, Unfit):
                raise error.cause from None
            if isinstance(error.cause, TrialFailed | ConfigError):
                raise TrialFailed(str(error.cause)) from None
            if isinstance(error.cause, OSError | MemoryError):
                raise error.cause from None
            raise


def take_slot(lease: Lease, pool: str) -> tuple[LeasedSlot, RemoteEngine]:
    """Waits until the pool of that name has a slot for the trial. Raises TrialFailed, Unfit."""
    actor = ray.get_actor(pool, namespace=POOL_NAMESPACE)
    asked: ray.ObjectRef[LeasedSlot] = actor.lease.remote(lease.trial, lease.config, lease.avoided)
    try:
        slot = ray.get(asked, timeout=LEASE_TIMEOUT_S)
    except (TrialFailed, Unfit) as error:
        raise unwrap(error) from None
    return slot, RemoteEngine(slot.actor, actor, sees_files=lease.remote is None)


def unwrap(error: Exception) -> TrialFailed | Unfit | CannotPack:
    """What was raised in another process, without what Ray wraps around it."""
    cause = getattr(error, "cause", error)
    if isinstance(cause, Unfit):
        return Unfit(cause.fault)
    return (CannotPack if isinstance(cause, CannotPack) else TrialFailed)(str(cause))
