"""What a sweep of thousands of trials costs its driver: python tests/tune/scale.py

Seconds and milliseconds of CPU, and MiB, on the toy and without Ray; a line of JSON for each
figure. `spin` is a loop of fixed work, before and after: on a busy machine all figures rise with
it.
"""

from __future__ import annotations

import contextlib
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
from inline import make_config, open_search, run_inline

from analysis.leaderboard import write_leaderboard
from analysis.records import read_sweep
from search_spaces.find import find_space
from search_spaces.space import Space
from tune.folder.mirror import Mirror
from tune.folder.recorder import replay_events
from tune.search.budget import Budget
from tune.search.proposals import Tried, draw, propose

SPACES = ("lora_modules", "qlora", "decoding")
PROPOSALS, TIMES = (100, 1000, 5000), 20
TRIALS = (250, 500, 1000, 2000)
ENDED = (500, 1000, 2000, 4000)


def tell(what: str, n: int, unit: str, value: float) -> None:
    print(json.dumps({"what": what, "trials": n, unit: round(value, 2)}), flush=True)


def measure_proposals(name: str) -> None:
    space, generator = find_space(name), random.Random(0)
    for n in PROPOSALS:
        history = []
        for number, point in enumerate([*space.first, *draw(space, 1, n)][:n]):
            is_whole = number % 3 == 0
            steps = {400: generator.random() * 50}
            steps |= {1600: generator.random() * 100} if is_whole else {}
            state = "COMPLETE" if is_whole else "PRUNED"
            history.append(Tried(params=point, state=state, steps=steps))
        least_s = min(measure(space, history, n + number) for number in range(TIMES))
        tell(f"proposal, {name}, least of {TIMES}", n, "cpu_ms", 1000 * least_s)


def measure(space: Space, history: list[Tried], number: int) -> float:
    """Seconds of CPU: of them the least counts, for what runs beside only adds to it."""
    began_s = time.process_time()
    propose(space, history, 0, number)
    return time.process_time() - began_s


@contextlib.contextmanager
def timed(what: str, n: int) -> Iterator[None]:
    began_s = time.process_time()
    yield
    tell(what, n, "cpu_s", time.process_time() - began_s)


def measure_command(module: str, n: int, *arguments: str) -> None:
    """From the interpreter's start to its end."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", module, *arguments], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    tell(f"{module}, start-up included", n, "cpu_s", spent_s)


def measure_spin() -> None:
    began_s, total = time.process_time(), 0
    for i in range(1_000_000):
        total += i * i
    tell("spin", 0, "cpu_ms", 1000 * (time.process_time() - began_s))


class MemoryTeller:
    """Tells how much memory this process has, whenever so many trials have ended."""

    def __init__(self) -> None:
        self.n_ended = 0

    def on_event(self, event: Mapping[str, Any]) -> None:
        if event["event"] == "end":
            self.n_ended += 1
            if self.n_ended in ENDED:
                rss_mib = psutil.Process().memory_info().rss / 2**20
                tell("the driver's memory, without Ray", self.n_ended, "mib", rss_mib)


def measure_memory(storage: Path) -> None:
    """With all who hear of a trial: the search, the ledger of budget and live table, the mirror."""
    config, space = make_config(storage, trials=ENDED[-1])
    search, _ = open_search(config, space)
    mirror = Mirror(config.folder, config.name, space)
    search.recorder.listeners += [Budget(search), mirror, MemoryTeller()]
    run_inline(search)


def measure_folder(storage: Path) -> None:
    """One sweep that grows: what it costs to go on with it, and to show it."""
    for n in TRIALS:
        config, space = make_config(storage, trials=n)
        search, _ = open_search(config, space)
        with timed("its trials to here, proposals and records", n):
            run_inline(search)
        del search
        with timed("resume: read, rebuilt, budget and mirror", n):
            search, records = open_search(config, space)
            assert records is not None
            events = list(replay_events(records))
            Budget(search).replay(events)
            Mirror(config.folder, config.name, space, past=events)
        measure_command("tune.status", n, config.name, "--storage", str(storage), "--once")
        with timed("leaderboard", n):
            write_leaderboard(config.folder)
        assert len(read_sweep(config.folder).trials) == n + 1


def main() -> None:
    measure_spin()
    for name in SPACES:
        measure_proposals(name)
    for measure_all in (measure_memory, measure_folder):
        with tempfile.TemporaryDirectory() as storage:
            measure_all(Path(storage))
    measure_spin()


if __name__ == "__main__":
    sys.exit(main())
