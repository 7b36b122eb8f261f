"""An engine as a Ray actor, on a GPU of the cluster (or the CPU): a thin shell, one method for each
of EngineProtocol's, which are called from many threads and wait."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import ray

from trainable.engine.best_slots import ENGINE
from trainable.finetuner import EngineProtocol, Unscored
from trainable.model.packable import is_toy
from trainable.result import Resolved, ValidationRequest
from trainable.system.activity import tell
from trainable.system.shortage import describe_shortage, is_out_of_memory
from trainable.training_curve import TrainingCurve
from trainable.trial import CannotPack, ConfigError, TrialConfig, TrialFailed
from trainable.worker.heartbeat import start_heartbeat
from trainable.worker.node import Unfit, check_versions, find_fault, find_here
from trainable.worker.wire import EnginePlace, Files

# Every operation of torch lets go of Python's lock. At the default 5 ms a turn one thread that
# encodes or scores leaves the device's thread 100 operations a second; so, 13,000 (2 cores).
SWITCH_S = 2e-5


class EngineActor:
    """An engine in its own process, or the reason why there is none. `trainable.worker.remote` is
    its other end."""

    def __init__(
        self,
        config: TrialConfig,
        slots: int | None,
        max_rank: int,
        gpu_share: float = 1.0,
        versions: Mapping[str, str] | None = None,
    ) -> None:
        """`slots`: None for as many as it finds best for trials like this one."""
        self.opened: EngineProtocol | Unfit | TrialFailed | CannotPack
        sys.setswitchinterval(SWITCH_S)
        start_heartbeat()
        tell("loading the base model", key=ENGINE)
        try:
            check_versions(versions or {})
            self.opened = open_engine(config, slots, max_rank, gpu_share)
        except (Unfit, TrialFailed, CannotPack) as error:
            self.opened = error
        except Exception as error:
            self.opened = spell_failure(error)

    @property
    def engine(self) -> EngineProtocol:
        """Raises TrialFailed where there is none by the trials' own doing, Unfit by the node's, and
        CannotPack where it was to find a number of slots for a base that it does not compute."""
        if isinstance(self.opened, Unfit | TrialFailed | CannotPack):
            raise self.opened
        return self.opened

    @ray.method
    def find_place(self) -> EnginePlace:
        """Raises where no engine can be had, as `engine` does."""
        assert self.engine
        gpus = ray.get_gpu_ids()
        return EnginePlace(
            node=os.uname().nodename,
            node_id=find_here(),
            gpu=gpus[0] if gpus else None,
            pid=os.getpid(),
            measured=self.engine.measured,
        )

    @ray.method
    def join(self, key: str, config: TrialConfig, start: Path | Files | None) -> Resolved:
        if not isinstance(start, Files):
            return self.engine.join(key, config, start)
        with tempfile.TemporaryDirectory() as folder:
            start.write(Path(folder))
            return self.engine.join(key, config, Path(folder))

    @ray.method
    def turns_seen(self, key: str) -> int:
        return self.engine.turns_seen(key)

    @ray.method
    def curve(self, key: str) -> TrainingCurve:
        return self.engine.curve(key)

    @ray.method
    def train_until(self, key: str, turns: int) -> None:
        self.engine.train_until(key, turns)

    @ray.method
    def evaluate(self, key: str, asked: ValidationRequest) -> Unscored:
        return self.engine.evaluate(key, asked)

    @ray.method
    def save(self, key: str, folder: Path) -> None:
        self.engine.save(key, folder)

    @ray.method
    def send_files(self, key: str) -> Files:
        """`save` for a trial on a node that does not see this one's files."""
        with tempfile.TemporaryDirectory() as folder:
            self.engine.save(key, Path(folder))
            return Files.read(Path(folder))

    @ray.method
    def leave(self, key: str) -> None:
        self.engine.leave(key)


def spell_failure(error: Exception) -> Unfit | TrialFailed:
    """Why there is no engine here. Raises the error again where it is the machinery's."""
    if fault := find_fault(error):
        return Unfit(fault)
    if isinstance(error, ConfigError):
        return TrialFailed(str(error))
    if is_out_of_memory(error):
        return TrialFailed(f"{describe_shortage(error)} (while the base model was loaded)")
    raise error


def open_engine(
    config: TrialConfig, slots: int | None, max_rank: int, gpu_share: float
) -> EngineProtocol:
    """Raises ConfigError where the base model cannot be had. `slots`: None for the best number."""
    if is_toy(config):
        assert slots is not None
        from trainable.solo.unpacked_engine import open_toy_engine

        return open_toy_engine(slots)
    from trainable.engine.engine import Engine
    from trainable.model.base import BaseSpec

    try:
        return Engine(
            BaseSpec.of(config),
            slots=slots or config,
            max_rank=max_rank,
            gpu_share=gpu_share,
            dialogue_tokens=config.max_length_tokens,
        )
    except CannotPack:  # its trials' notes say why
        if slots is None:
            raise
        from trainable.solo.unpacked_engine import open_plain_engine

        return open_plain_engine(slots)
