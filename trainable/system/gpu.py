"""How busy and how full this process's GPU is, as nvidia-smi tells it."""

import shutil
import subprocess
from typing import Any, TypedDict

QUERY = "utilization.gpu,memory.used,memory.total"
_last: dict[str, dict[str, Any]] = {}


def measure_gpu(gpu: str | None) -> dict[str, Any] | None:
    """id, percent, used_gib and total_gib of the GPU that nvidia-smi knows by `gpu`; None where it
    says nothing."""
    use = None if gpu is None or shutil.which("nvidia-smi") is None else _ask(gpu)
    _last["use"] = use or {}
    return use


class GpuColumns(TypedDict):
    """As a TrainingPoint names it; None: it was not measured."""

    gpu_percent: float | None
    gpu_gib: float | None


def recall_gpu() -> GpuColumns:
    """What was measured last in this process, at no cost."""
    use = _last.get("use", {})
    return {"gpu_percent": use.get("percent"), "gpu_gib": use.get("used_gib")}


def _ask(gpu: str) -> dict[str, Any] | None:
    command = ["nvidia-smi", "-i", gpu, f"--query-gpu={QUERY}"]
    try:
        asked = subprocess.run(
            [*command, "--format=csv,noheader,nounits"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
        percent, used_mib, total_mib = (float(part) for part in asked.stdout.split(","))
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return {
        "id": gpu,
        "percent": percent,
        "used_gib": used_mib / 1024,
        "total_gib": total_mib / 1024,
    }
