"""To Ray: one of our own, started where it can be, or the cluster that RAY_ADDRESS names.

Raises ConfigError, in one line, where there is none to be had. What is awaited for long is said.
"""

from __future__ import annotations

import contextlib
import getpass
import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from trainable.system.cache import find_cache_folder
from trainable.system.environment import list_variables
from trainable.system.replaced import replaced
from trainable.trial import ConfigError
from tune.folder.versions import list_packages
from tune.terminal import stderr
from tune.workers.session import RAY_FOLDER, open_session
from tune.workers.watchdog import EXIT_PAUSED, Watchdog

Say = Callable[[str], None]
SAID_AFTER_S = 10.0
ADDRESS_S = 60.0  # for somebody to answer at RAY_ADDRESS
START_S = 240.0  # for Ray itself, whose own limits are shorter: three tries of a start
TRIES = 3  # of a Ray of our own: on a busy machine one may miss Ray's 30 s
TOKEN = ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE")

# Set before Ray is imported. Ray's own experiment state is disposable: it is hardly written.
SETTINGS = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_DISABLE_FAILURE_SIGNAL_HANDLER": "1",  # which aborts a driver at its SIGTERM
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # a space's paths hold where the sweep was started
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000",
    "TUNE_MAX_PENDING_TRIALS_PG": "1000000",  # the search keeps to the room that there is
    "TUNE_WARN_THRESHOLD_S": "30",
    "TUNE_WARN_INSUFFICENT_RESOURCE_THRESHOLD_S": "86400",
}


@contextlib.contextmanager
def connect(say: Say) -> Iterator[Path | None]:
    """The session's folder, of a Ray of our own."""
    settle_ray()
    import ray

    address = os.environ.get("RAY_ADDRESS") or "local"  # never one that happens to run here
    folder = None
    with contextlib.ExitStack() as stack:
        if address == "local":
            folder = stack.enter_context(open_session())
            stack.enter_context(Watchdog(folder))
        with announced(f"Ray ({address})", START_S, say):
            if folder is not None:
                _start(ray, folder)
            else:
                _join(ray, address, say)
        try:
            yield folder
        finally:
            ray.shutdown()


def _start(ray: Any, folder: Path) -> None:
    from tune.workers.job import Job, ours_found

    for left in reversed(range(TRIES)):
        try:
            with ours_found(), without_extras():
                ray.init(
                    "local",
                    job_config=Job(),
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    include_dashboard=False,
                    _temp_dir=str(folder / RAY_FOLDER),
                )
            return
        except Exception as error:  # of whatever part of Ray
            ray.shutdown()
            if not left:
                raise ConfigError(
                    f"Ray did not start in {TRIES} tries ({describe(error)}): check free memory, "
                    f"processes and disk (below {folder.parent}), or give RAY_ADDRESS"
                ) from error


def without_extras() -> AbstractContextManager[None]:
    """Inside the block Ray starts none of its processes that nobody here asks anything of: the
    dashboard's, for which it waits a second even where none is wanted, the autoscaler's, and the
    one that sends workers' output to drivers."""
    from ray._private.node import Node

    extras = ("start_api_server", "start_monitor", "start_log_monitor")
    return replaced(Node, **dict.fromkeys(extras, lambda self, **_: None))


def _join(ray: Any, address: str, say: Say) -> None:
    from tune.workers.job import Job

    is_client = "://" in address  # whose server builds the job
    remedy = "start a head there (ray start --head), or unset RAY_ADDRESS for a Ray of our own"
    if address != "auto" and not is_client:
        await_listener(address, remedy, say)
    with stderr.capture_stderr() as read:  # where Ray may tell once a second that it wants a token
        try:
            ray.init(
                address,
                job_config=None if is_client else Job(),
                log_to_driver=False,
                logging_level=logging.ERROR,
                runtime_env=spell_environment(),
            )
        except Exception as error:
            ray.shutdown()
            if "InvalidAuthToken" in f"{error} {read()}":
                remedy = (
                    "the cluster asks for a token: set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN or "
                    "RAY_AUTH_TOKEN_PATH where it is not in ~/.ray/auth_token"
                )
            raise ConfigError(
                f"RAY_ADDRESS={address} reaches no Ray ({describe(error)}): {remedy}"
            ) from error


def spell_environment() -> dict[str, Any]:
    """This code and no other, whatever the other nodes have installed, and how it is to run."""
    return {"py_modules": list_packages(), "env_vars": list_variables()}


def await_listener(address: str, remedy: str, say: Say) -> None:
    """Until somebody listens at HOST:PORT; raises ConfigError when nobody does in time."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise ConfigError(f"RAY_ADDRESS must be HOST:PORT or auto, not {address!r}: {remedy}")
    deadline_s = time.monotonic() + ADDRESS_S
    while True:
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
            return
        except OSError as error:
            if time.monotonic() > deadline_s:
                raise ConfigError(
                    f"RAY_ADDRESS={address}: nothing answers there after {ADDRESS_S:g} s "
                    f"({error.strerror or error}): {remedy}"
                ) from None
        time.sleep(0.5)


def is_ours(folder: Path) -> bool:
    """Whether it is this user's, or can be made."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return folder.stat().st_uid == os.getuid() and os.access(folder, os.W_OK | os.X_OK)
    except OSError:
        return False


def settle_user() -> None:
    """A home and a name for a user without an account, which Ray and torch ask for. Raises
    ConfigError where there is no folder to take for a home."""
    try:
        Path.home()
    except RuntimeError:
        os.environ["HOME"] = str(find_cache_folder())
    try:
        getpass.getuser()
    except (KeyError, OSError):
        os.environ["USER"] = str(os.getuid())


def settle_ray() -> None:
    """Ray's environment. To be called before Ray is imported, which looks at it then."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    settle_token()


def settle_token() -> None:
    """Where the home folder cannot take the token that a Ray of our own would leave there, one in
    the environment."""
    settle_user()
    if os.environ.get("RAY_ADDRESS") or any(name in os.environ for name in TOKEN):
        return
    if not is_ours(Path(os.path.expanduser("~")) / ".ray"):
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)


@contextlib.contextmanager
def announced(what: str, patience_s: float, say: Say) -> Iterator[None]:
    """What the block waits for is said once it takes long; the process ends when it takes longer
    than that: C++ cannot be interrupted."""
    text = f"waiting for {what}, for {patience_s:g} s at most"

    def end() -> None:
        stderr.write(f"error: {what} has not answered for {patience_s:g} s\n")
        os._exit(EXIT_PAUSED)

    timers = [threading.Timer(SAID_AFTER_S, say, (text,)), threading.Timer(patience_s, end)]
    for timer in timers:
        timer.daemon = True
        timer.start()
    try:
        yield
    finally:
        for timer in timers:
            timer.cancel()


def describe(error: Exception) -> str:
    """The first sentence of what Ray says."""
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), repr(error))
    return first.partition(". ")[0].rstrip(".")
