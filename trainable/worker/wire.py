"""What travels between a trial's worker, the pool of engines and an engine's process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trainable.finetuner import BestSlots
from trainable.system.inside import stay_inside


@dataclass(frozen=True, kw_only=True)
class EnginePlace:
    """Where an engine runs."""

    node: str  # its host's name
    node_id: str  # Ray's
    gpu: Any  # Ray's id; None: on the CPU
    pid: int
    measured: BestSlots | None = None  # by what its number of slots was chosen


@dataclass(frozen=True, kw_only=True)
class LeasedSlot:
    """A slot that the pool has handed out."""

    key: str  # the lease's, which the engine knows the trial by
    number: int
    actor: Any  # the engine's: an EngineActor
    place: EnginePlace


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a report's work was done, as it is recorded."""

    node: str
    gpu: Any
    pid: int  # of the trial's own process
    engine_pid: int | None = None  # of a trial in a slot
    slot: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Without what a trial alone has not."""
        own = ("node", "gpu", "pid")
        return {n: v for n, v in asdict(self).items() if n in own or v is not None}


@dataclass(frozen=True, kw_only=True)
class Files:
    """A checkpoint's files, for a node that does not see their folder."""

    contents: Mapping[str, bytes]  # name below the folder -> content

    @classmethod
    def read(cls, folder: Path) -> Files:
        files = (p for p in folder.rglob("*") if p.is_file())
        return cls(contents={str(p.relative_to(folder)): p.read_bytes() for p in files})

    def write(self, folder: Path) -> None:
        """Raises ConfigError where a name leads out of the folder."""
        for name, content in self.contents.items():
            place = stay_inside(folder, name)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
