"""Watchdog: kills what a driver's Ray leaves behind, and ends a driver whose Ray is dead.

Run as a script (by `Watchdog`), it waits for its driver's end and kills the processes of its Ray.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from fnmatch import fnmatch
from pathlib import Path

import psutil

EXIT_PAUSED = 1
PATIENCE_S = 3.0  # of a Ray of our own, without an answer
HEAD_TIMEOUT_VARIABLE = (
    "RAY_gcs_rpc_server_reconnect_timeout_s"  # with a cluster's head; 60 if unset
)
LOOK_S = 1.0
OTHER_HEAD_ERROR = "WrongClusterID"  # in what Ray raises where the head is another than it has met
KILL_ATTEMPTS = 20  # a dying raylet may still start a worker
Endpoints = Mapping[str, tuple[str, int]]  # what listens there -> its host and port


class Watchdog:
    """Kills what is left of the Ray that this process starts inside the block when the driver has
    ended, in whatever way: an engine that outlives its driver keeps its GPU's memory. Then removes
    the folder of its session."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __enter__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-P", __file__, str(os.getpid()), str(self.folder)],
            stdin=subprocess.PIPE,
            start_new_session=True,  # Ctrl+C is for the driver
        )

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


class RayMonitor:
    """Ends the driver when its Ray is dead: nothing of it can be relied on then, not even to say
    so, and all that counts is in the sweep's folder."""

    def __init__(self, endpoints: Endpoints, patience_s: float, command: str) -> None:
        self.endpoints, self.patience_s, self.command = endpoints, patience_s, command
        self.is_over = threading.Event()

    def __enter__(self) -> RayMonitor:
        for work in (self._look, self._ask):
            threading.Thread(target=work, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.is_over.set()

    def check(self) -> None:
        """Returns when every endpoint answers; ends the process when one does not for long."""
        since_s = time.monotonic()
        while (closed := find_unreachable(self.endpoints)) and not self.is_over.is_set():
            if time.monotonic() - since_s > self.patience_s:
                self._end(f"{closed} does not answer")
            time.sleep(LOOK_S / 4)

    def explain(self, error: BaseException) -> None:
        """Ends the process where the error comes from a Ray that is lost."""
        if OTHER_HEAD_ERROR in str(error):
            self._end("its head was started anew, and knows nothing of this sweep")
        self.check()

    def _end(self, why: str) -> None:
        from tune.terminal import stderr  # the watchdog's process has no package to import

        show_cursor = "\x1b[?25h" if sys.__stderr__ and sys.__stderr__.isatty() else ""
        stderr.write(f"{show_cursor}\nRay is lost ({why}): paused; go on with {self.command}\n")
        os._exit(EXIT_PAUSED)

    def _ask(self) -> None:
        """Whether the head is still the one that this driver has joined: another may have taken
        its place between two looks. A call that hangs, hangs in this thread alone."""
        from ray.experimental import internal_kv

        while not self.is_over.wait(2 * LOOK_S):
            try:
                internal_kv._internal_kv_exists("head")
            except Exception as error:  # of whatever part of Ray; only one kind is told here
                if OTHER_HEAD_ERROR in str(error) and not self.is_over.is_set():
                    self.explain(error)

    def _look(self) -> None:
        while not self.is_over.wait(LOOK_S):
            self.check()


def choose_patience() -> float:
    """Seconds without an answer. A cluster's head may come back, but a little before Ray itself
    gives up, the driver must."""
    if os.environ.get("RAY_ADDRESS") in (None, "", "local"):
        return PATIENCE_S
    return 0.8 * float(os.environ.get(HEAD_TIMEOUT_VARIABLE, 60))


def find_unreachable(endpoints: Endpoints) -> str | None:
    """The first that nobody listens at."""
    for name, address in endpoints.items():
        try:
            socket.create_connection(address, timeout=LOOK_S).close()
        except OSError:
            return f"{name} at {address[0]}:{address[1]}"
    return None


def find_endpoints() -> Endpoints:
    """Of the Ray that this process is connected to: its head, and the node of this process."""
    import ray

    context = ray.get_runtime_context()
    host, _, port = context.gcs_address.rpartition(":")
    here = next(n for n in ray.nodes() if n["NodeID"] == context.get_node_id())
    node = (here["NodeManagerAddress"], here["NodeManagerPort"])
    return {"the head": (host.strip("[]"), int(port)), "the raylet": node}


def find_session(driver: int) -> list[psutil.Process]:
    """The processes of the Ray session that this driver began, itself left out. They are known by
    the logs they write, under session_TIME_PID: Ray's names and parents change."""
    found = []
    for process in psutil.process_iter():
        if process.pid == driver:
            continue
        try:
            files = [f for f in process.open_files() if getattr(f, "mode", "w") != "r"]
        except psutil.Error:
            continue  # another's, or gone
        if any(fnmatch(f.path, f"*/session_*_{driver}/*") for f in files):
            found.append(process)
    return found


def main() -> None:
    sys.stdin.read()  # until the driver's end closes it
    driver, folder = sys.argv[1:]
    for _ in range(KILL_ATTEMPTS):
        if not (left := find_session(int(driver))):
            break
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        time.sleep(0.1)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
