"""What is a machine's fault and not a trial's: a folder that it lacks, a full disk, a driver that
is broken, another version."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from trainable.system.retries import FULL, StorageFault
from trainable.system.versions import find_differences
from trainable.trial import Missing
from trainable.worker.lease import NodeFault

BROKEN_DRIVER = re.compile(
    "no NVIDIA driver|driver on your system|driver version|driver mismatch|CUDA unknown error|"
    "No CUDA GPUs|CUDA-capable device|no kernel image|uncorrectable ECC|system not yet initialized|"
    "NVML|fallen off the bus|C compiler"
)


class Unfit(RuntimeError):
    """The node cannot carry out the trial: its argument is the NodeFault."""

    @property
    def fault(self) -> NodeFault:
        fault: NodeFault = self.args[0]
        return fault


def blame(reason: str, *, is_lack: bool = False) -> NodeFault:
    """A fault of the node that this process runs on."""
    import ray  # not before a driver has settled its token: tune.workers.connect

    name = f"{os.uname().nodename} ({ray.util.get_node_ip_address()})"
    return NodeFault(node=find_here(), name=name, reason=reason, is_lack=is_lack)


def find_here() -> str:
    """Ray's id of this node."""
    import ray

    return str(ray.get_runtime_context().get_node_id())


def find_fault(error: Exception) -> NodeFault | None:
    """None: the error is of another kind."""
    causes = [error, *(e for e in (error.__cause__, error.__context__) if e is not None)]
    if isinstance(error, StorageFault):
        return None
    for cause in causes:
        if isinstance(cause, OSError) and cause.errno in FULL:
            return blame(f"its disk is full ({cause})")
    if isinstance(error, Missing):
        return blame(str(error), is_lack=True)
    if isinstance(error, ImportError):
        return blame(f"a package is missing or of another version ({error})")
    if isinstance(error, RuntimeError) and BROKEN_DRIVER.search(str(error)):
        return blame(f"its GPU cannot be used ({str(error).strip().splitlines()[0]})")
    return None


def blame_storage(error: StorageFault, *, is_copy: bool) -> NodeFault | None:
    """Of a storage that is away: it may be so for this node alone. A full one is so for all, unless
    what is written is this node's copy."""
    if error.errno in FULL:
        return blame(f"its disk is full ({error.strerror})") if is_copy else None
    return blame(f"it does not see the sweep's folder ({error.strerror})")


def check_versions(drivers: Mapping[str, str]) -> None:
    """Raises Unfit where this node computes with other versions than the driver's."""
    if drivers and (differences := list(find_differences(drivers))):
        raise Unfit(blame(f"it has {', '.join(differences)}: install the driver's versions there"))
