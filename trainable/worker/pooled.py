"""A trial in a slot of an engine elsewhere, by way of the pool that handed the slot out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray

from trainable.system.inside import stay_inside
from trainable.trial import ConfigError, Evaluation, Resolved, TrialConfig, TrialFailed
from trainable.worker.lease import Lease
from trainable.worker.node import Unfit

POOL_NAMESPACE = "sweep"
LEASE_TIMEOUT_S = 1800.0  # for a slot to become free, and a model to be loaded


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
                self.pool.lease.remote(lease.trial, lease.config, lease.avoided),
                timeout=LEASE_TIMEOUT_S,
            )
        except (TrialFailed, Unfit) as error:
            raise plain(error) from None
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

    def evaluate(
        self, n_dialogues: int | None, *, replies: bool = True, bias: float | None = None
    ) -> Evaluation:
        """Scored here: the engine's process has its hands full."""
        asked = (n_dialogues, "validation", replies, bias)
        score: Callable[[], Evaluation] = self._call("evaluate", *asked)
        return score()

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
            self.pool.drop_dead.remote(self.key)
            raise
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, Unfit):
                raise error.cause from None
            if isinstance(error.cause, TrialFailed | ConfigError):
                raise TrialFailed(str(error.cause)) from None
            if isinstance(error.cause, OSError | MemoryError):
                raise error.cause from None
            raise


def plain(error: TrialFailed | Unfit) -> TrialFailed | Unfit:
    """What was raised in another process, without what Ray wraps around it."""
    cause = getattr(error, "cause", error)
    return Unfit(cause.fault) if isinstance(cause, Unfit) else TrialFailed(str(cause))


def read_files(folder: Path) -> dict[str, bytes]:
    """Name -> content of all files below."""
    files = (p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): p.read_bytes() for p in files}


def write_files(folder: Path, files: dict[str, bytes]) -> None:
    for name, content in files.items():
        place = stay_inside(folder, name)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
