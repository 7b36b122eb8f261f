"""Calls to an object storage that may not answer: with a time limit, and ended by a signal."""

import math
import sys
import threading
import time
from collections.abc import Callable
from typing import TypeVar

FIRST_S = 30.0  # for the first answer; pyarrow alone tries for minutes
SAID_AFTER_S = 10.0
PAUSE_S = 0.1
T = TypeVar("T")


def ask(uri: str, work: Callable[[], T], limit_s: float | None = None) -> T:
    """What `work` returns or raises. It runs in a thread of its own, for pyarrow waits in C++; what
    takes long is said. Raises TimeoutError after `limit_s`, and leaves the thread behind."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(work())
        except BaseException as error:  # raised again where it was asked
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    began_s, is_told, limit = time.monotonic(), False, ""
    if limit_s is not None:
        limit = f", for {limit_s:g} s at most"
    while thread.is_alive() and time.monotonic() - began_s < (limit_s or math.inf):
        thread.join(PAUSE_S)  # between which signals are heard
        if not is_told and time.monotonic() - began_s > SAID_AFTER_S:
            print(f"waiting for {uri}{limit}", file=sys.stderr)
            is_told = True
    if errors:
        raise errors[0]
    if not results:
        raise TimeoutError(f"no answer after {limit_s:g} s")
    return results[0]
