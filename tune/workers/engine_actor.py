"""An engine as a Ray actor, on a GPU of the cluster (or the CPU)."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainable.model.packable import is_toy
from trainable.system.shortage import describe_shortage, is_out_of_memory
from trainable.trial import CannotPack, ConfigError, TrialConfig, TrialFailed
from trainable.worker.entry import start_heartbeat
from trainable.worker.node import Unfit, check_versions, find_fault, find_here
from trainable.worker.pooled import read_files, write_files

# Every operation of torch lets go of Python's lock. At the default 5 ms a turn one thread that
# encodes or scores leaves the device's thread 100 operations a second; so, 13,000 (2 cores).
SWITCH_S = 2e-5
OWN_VERBS = ("join_files", "save_files")  # of the actor; the others are the engine's


class EngineActor:
    """An engine in its own process. The engine's verbs block; Ray calls them from many threads."""

    def __init__(
        self,
        config: TrialConfig,
        slots: int,
        max_rank: int,
        gpu_share: float = 1.0,
        versions: Mapping[str, str] | None = None,
    ) -> None:
        self.engine: Any = None
        self.failure: Unfit | TrialFailed | None = None
        sys.setswitchinterval(SWITCH_S)
        start_heartbeat()
        try:
            check_versions(versions or {})
            self.engine = open_engine(config, slots, max_rank, gpu_share)
        except (Unfit, TrialFailed) as error:
            self.failure = error
        except Exception as error:
            self.failure = spell_failure(error)

    def call(self, verb: str, *arguments: Any) -> Any:
        return getattr(self if verb in OWN_VERBS else self.engine, verb)(*arguments)

    def join_files(self, key: str, config: TrialConfig, files: dict[str, bytes]) -> Any:
        """`join` for a trial whose checkpoint lies on another node."""
        with tempfile.TemporaryDirectory() as folder:
            write_files(Path(folder), files)
            return self.engine.join(key, config, folder if files else None)

    def save_files(self, key: str) -> dict[str, bytes]:
        with tempfile.TemporaryDirectory() as folder:
            self.engine.save(key, folder)
            return read_files(Path(folder))

    def where(self) -> dict[str, Any]:
        """Where it is, with Ray's id of the node. Raises where no engine can be had: TrialFailed by
        the trials' own doing, Unfit by the node's."""
        import ray

        if self.failure is not None:
            raise self.failure
        gpus = ray.get_gpu_ids()
        return {
            "node": os.uname().nodename,
            "node_id": find_here(),
            "gpu": gpus[0] if gpus else None,
            "engine_pid": os.getpid(),
        }


def spell_failure(error: Exception) -> Unfit | TrialFailed:
    """Why there is no engine here. Raises the error again where it is the machinery's."""
    if fault := find_fault(error):
        return Unfit(fault)
    if isinstance(error, ConfigError):
        return TrialFailed(str(error))
    if is_out_of_memory(error):
        return TrialFailed(f"{describe_shortage(error)} (while the base model was loaded)")
    raise error


def open_engine(config: TrialConfig, slots: int, max_rank: int, gpu_share: float) -> Any:
    """Raises ConfigError where the base model cannot be had."""
    if is_toy(config):
        from trainable.solo.toy_engine import ToyEngine

        return ToyEngine(slots, max_rank)
    from trainable.engine.engine import Engine
    from trainable.model.base import BaseSpec

    try:
        return Engine(
            BaseSpec.of(config),
            slots=slots,
            max_rank=max_rank,
            gpu_share=gpu_share,
            dialogue_tokens=config.max_length_tokens,
        )
    except CannotPack:  # its trials' notes say why
        from trainable.solo.alone_engine import AloneEngine

        return AloneEngine(slots)
