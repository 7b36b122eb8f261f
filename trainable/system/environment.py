"""How a run is carried out, where that decides no trial's outcome: told to every process that the
run starts by its environment."""

import codecs
import os
import sys

from trainable.trial import ConfigError

DETERMINISTIC = "QLORA_DIALOGUE_DETERMINISTIC"
TRUST_REMOTE_CODE = "QLORA_DIALOGUE_TRUST_REMOTE_CODE"
GPU_GIB = "QLORA_DIALOGUE_GPU_GIB"  # of each GPU, what one process may take; unset: all
CUBLAS = "CUBLAS_WORKSPACE_CONFIG"  # cuBLAS's own condition for determinism


def trusts_remote_code() -> bool:
    return os.environ.get(TRUST_REMOTE_CODE) == "1"


def is_deterministic() -> bool:
    return os.environ.get(DETERMINISTIC) == "1"


def read_gpu_limit() -> float | None:
    """GiB; None: there is no limit. Raises ConfigError."""
    told = os.environ.get(GPU_GIB, "")
    try:
        limit = float(told) if told else None
    except ValueError:
        limit = 0.0
    if limit is not None and not limit > 0:
        raise ConfigError(f"{GPU_GIB}={told}: give the GiB of a GPU that a process may take")
    return limit


def set_environment(deterministic: bool, trust_remote_code: bool) -> None:
    """To be called before any process is started, and before torch meets a GPU. Trust is this
    command's own: none is inherited."""
    if deterministic:
        os.environ[DETERMINISTIC] = "1"
        os.environ.setdefault(CUBLAS, ":4096:8")
    os.environ.pop(TRUST_REMOTE_CODE, None)
    if trust_remote_code:
        os.environ[TRUST_REMOTE_CODE] = "1"


def list_variables() -> dict[str, str]:
    """What processes must be told that do not inherit this one's environment."""
    names = (DETERMINISTIC, TRUST_REMOTE_CODE, GPU_GIB, CUBLAS)
    return {name: os.environ[name] for name in names if name in os.environ}


def ensure_utf8() -> None:
    """To be called by a command before all else: where the shell's encoding is another (LC_ALL=C),
    a folder's umlaut reaches neither Ray nor a record, and the command begins anew in UTF-8."""
    if codecs.lookup(sys.getfilesystemencoding()).name != "utf-8":
        os.environ["PYTHONUTF8"] = "1"
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
