"""Signals that end a driver: SIGINT (Ctrl-C), SIGTERM (scancel, a pod's end), SIGHUP (a terminal's
end) and SIGUSR1 (Slurm's warning before a time limit). All pause the sweep, none ends it."""

import contextlib
import math
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Collection, Iterator
from typing import Any

from tune.terminal import stderr

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
IGNORABLE = (signal.SIGINT, signal.SIGHUP)  # by who starts the driver: nohup, a background job
PATIENCE_S = 8.0  # for Ray to end; what is left of it then is killed by the watchdog

_install = signal.signal


class Interrupted(KeyboardInterrupt):
    """A signal has come. `code`: the exit code that a shell expects."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.code = 128 + number


@contextlib.contextmanager
def pause_on_signals(hint: str) -> Iterator[None]:
    """Inside the block a signal raises Interrupted in the main thread. Where the block does not end
    in time, or a second signal comes, the process prints the line and ends at once."""
    if not is_main_thread():  # no signals come here
        yield
        return
    heard: list[int] = []

    def hear(number: int, frame: Any) -> None:
        signal.alarm(0)  # with which Ray aborts the process, where `renew` was not reached yet
        heard.append(number)
        raise Interrupted(number)

    with _install_only(hear) as taken, _end_in_time(taken, hint):
        try:
            yield
        except KeyboardInterrupt:  # Ray raises one of its own in the place of what a handler raised
            if not heard:
                raise
            raise Interrupted(heard[0]) from None


@contextlib.contextmanager
def _end_in_time(numbers: Collection[int], hint: str) -> Iterator[None]:
    """Inside the block a thread hears those signals, too: even while the main thread is in C++ of
    Ray's, where no handler of Python's is reached."""
    if not is_command():
        yield
        return
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(reader, numbers, hint), daemon=True).start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        writer.close()


def _watch(reader: socket.socket, numbers: Collection[int], hint: str) -> None:
    """Until the other end is closed: a first signal has PATIENCE_S to end the block."""
    first, deadline_s = None, math.inf
    with reader:
        while True:
            reader.settimeout(None if first is None else max(deadline_s - time.monotonic(), 1e-3))
            try:
                if not (told := reader.recv(1)):
                    return
            except TimeoutError:
                told = bytes([first or 0])
            if first is not None and told[0] in numbers:
                say(Interrupted(first), hint)
                os._exit(128 + first)
            if told[0] in numbers:
                first, deadline_s = told[0], time.monotonic() + PATIENCE_S


@contextlib.contextmanager
def _install_only(handler: Any) -> Iterator[Collection[int]]:
    """Inside the block nobody else's handlers are taken: Ray's ends the driver without a word, and
    Ray Tune's has its trials taken for finished. The signals that the handler is for."""

    def install(number: Any, other: Any) -> Any:
        return signal.getsignal(number) if number in SIGNALS else _install(number, other)

    before = {number: signal.getsignal(number) for number in SIGNALS}
    replaced, signal.signal = signal.signal, install  # type: ignore[assignment]
    taken = [n for n in SIGNALS if before[n] is not signal.SIG_IGN or n not in IGNORABLE]
    for number in taken:
        _install(number, handler)
    try:
        yield taken
    finally:
        signal.signal = replaced
        for number, known in before.items():
            _install(number, known)


def renew() -> None:
    """To be called once Ray is connected: it has put a handler beneath Python's own that prints its
    stack at a SIGTERM and aborts."""
    for number in SIGNALS if is_main_thread() else ():
        if (handler := signal.getsignal(number)) is not None:
            _install(number, handler)


def is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def is_command() -> bool:
    """Whether the process may be ended: it is no notebook's kernel and no interactive Python. (That
    a library has loaded IPython makes it none.)"""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return shell is None and not hasattr(sys, "ps1")


def say(interrupted: Interrupted, hint: str) -> None:
    """One line on the process's own stderr: wherever sys.stderr leads, or if nobody reads it."""
    is_terminal = sys.__stderr__ is not None and sys.__stderr__.isatty()
    show_cursor = "\x1b[?25h\n" if is_terminal else ""
    stderr.write(f"{show_cursor}paused by {interrupted}: {hint}\n")
