"""Signals pause a driver: one line says how to go on, nothing is pruned, exit code 128 + n."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from drivers import Sweep, compute_undisturbed
from test_search import summarise

from tune.driver.signals import Interrupted, is_command, is_main_thread, pause_on_signals, renew

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)


@pytest.mark.parametrize("number", SIGNALS)
def test_nobody_else_s_handlers_are_taken_and_ours_end_with_the_block(number: int) -> None:
    before = signal.getsignal(number)
    with pytest.raises(Interrupted) as caught, pause_on_signals("go on"):
        signal.signal(number, lambda *_: None)  # as Ray and Ray Tune do
        os.kill(os.getpid(), number)
        time.sleep(5)
    assert caught.value.code == 128 + number and str(caught.value) == signal.Signals(number).name
    assert signal.getsignal(number) == before
    signal.signal(number, before)


def test_an_interrupt_that_another_takes_the_place_of_keeps_its_code() -> None:
    with pytest.raises(Interrupted, match="SIGUSR1"), pause_on_signals("go on"):
        try:
            os.kill(os.getpid(), signal.SIGUSR1)
            time.sleep(5)
        except KeyboardInterrupt:
            raise KeyboardInterrupt from None  # as Ray's wait does


def test_what_was_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with pause_on_signals("go on"):
            os.kill(os.getpid(), signal.SIGHUP)  # as under nohup
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("times", [1, 2])
def test_who_does_not_end_in_time_or_is_told_twice_ends_at_once(times: int) -> None:
    text = (
        "import os, signal, time\n"
        "from tune.driver import signals\n"
        f"signals.PATIENCE_S = {0.2 if times == 1 else 60}\n"
        "with signals.pause_on_signals('go on with X'):\n"
        f"    for _ in range({times}):\n"
        "        try:\n"
        "            os.kill(os.getpid(), signal.SIGTERM)\n"
        "            time.sleep(60)\n"
        "        except KeyboardInterrupt:\n"
        "            pass\n"
        "    time.sleep(60)\n"
    )
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=30)
    assert done.returncode == 143 and done.stderr == "paused by SIGTERM: go on with X\n"


@pytest.mark.parametrize("times", [1, 2])
def test_a_main_thread_in_c_is_ended_too(times: int) -> None:
    """As in Ray's start: there no handler of Python's is reached."""
    text = (
        "import hashlib, os, signal, threading, time\n"
        "from tune.driver import signals\n"
        f"signals.PATIENCE_S = {0.2 if times == 1 else 60}\n"
        "def ask():\n"
        f"    for _ in range({times}):\n"
        "        time.sleep(0.2)\n"
        "        os.kill(os.getpid(), signal.SIGHUP)\n"
        "with signals.pause_on_signals('go on with X'):\n"
        "    threading.Thread(target=ask).start()\n"
        "    hashlib.pbkdf2_hmac('sha256', b'', b'', 1 << 30)\n"
    )
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, timeout=60)
    assert done.returncode == 129 and done.stderr == "paused by SIGHUP: go on with X\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "asha"),
    [
        (signal.SIGTERM, "stop"),
        *[pytest.param(n, "promote", marks=pytest.mark.nightly) for n in SIGNALS],
        pytest.param(signal.SIGUSR1, "stop", marks=pytest.mark.nightly),
    ],
)
def test_a_sweep_that_is_told_to_end_goes_on_to_what_it_would_have_been(
    tmp_path: Path, number: signal.Signals, asha: str
) -> None:
    flags = ("--set", "base_model=toy:0.001", "--trials", "6", "--concurrent", "1", "--asha", asha)
    sweep = Sweep(tmp_path, flags)
    driver = sweep.start()
    sweep.await_evals(5)
    driver.send_signal(number)
    assert driver.wait(timeout=15) == 128 + number
    command = f"go on with python -m tune.run --resume s --storage {tmp_path}"
    assert f"paused by {number.name}: {command}\n" in sweep.console
    assert "Traceback" not in sweep.console
    assert not any("not promoted" in (t.reason or "") for t in sweep.records.trials)
    sweep.run()
    whole = compute_undisturbed(tmp_path, "toy:0.001", trials=6, concurrent=1, asha=asha)
    assert summarise(sweep.records) == summarise(whole)


def test_a_thread_s_sweep_leaves_signals_to_the_main_thread() -> None:
    ran: list[bool] = []

    def work() -> None:
        with pause_on_signals("go on"):
            renew()
            ran.append(is_main_thread())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert ran == [False]


def test_a_notebook_s_kernel_is_no_command(monkeypatch: pytest.MonkeyPatch) -> None:
    import IPython

    assert is_command()  # though IPython is loaded
    monkeypatch.setattr(IPython, "get_ipython", lambda: object())
    assert not is_command()
