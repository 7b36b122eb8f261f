"""Where there is no NVIDIA GPU: nothing needs Triton, or a build of torch for CUDA."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# every module but the kernels, and none of CUDA's libraries in sight
IMPORTS = """
import importlib, pkgutil, sys

for name in ("triton", "nvidia", "pynvml", "cupy", "flash_attn", "xformers"):
    sys.modules[name] = None
import torch
torch.cuda.is_available = lambda: False
broken = []
for floor in ("qlora_search", "trainable", "search_spaces", "analysis", "tune"):
    package = importlib.import_module(floor)
    for found in pkgutil.walk_packages(package.__path__, f"{floor}."):
        if found.name.startswith("trainable.engine.kernels.") or "__main__" in found.name:
            continue
        if ".results." in found.name:
            continue
        try:
            importlib.import_module(found.name)
        except ImportError as error:
            broken.append(f"{found.name}: {error}")
from trainable.model.base import pick_device
print(broken, pick_device("auto"))
"""


@pytest.mark.slow
def test_nothing_imports_triton_or_cuda_where_there_is_none() -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORTS], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip().splitlines()[-1] == "[] cpu", done.stdout[-2000:]
