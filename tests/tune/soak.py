"""Sweeps whose processes die at random moments, again and again: python tests/tune/soak.py

After each death the records must be whole and agree with the undisturbed sweep; at the end trials,
curves and leaderboard must be its own. A round is one sweep; rounds go on until there were
`--deaths`. Each appends its line to `--record`.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from drivers import PATIENCE_S, Sweep, compute_undisturbed
from test_search import summarise

from analysis.leaderboard import render

WORKERS = {  # how a process is called -> what a kill of it is
    "ray::ResourceTr": "worker",
    "ray::DialogueTr": "worker",
    "ray::EngineActo": "engine",
    "ray::Pool": "pool",
    "raylet": "raylet",
    "gcs_server": "gcs_server",
}
DRIVER = ("KILL", "TERM", "INT", "USR1", "HUP")  # signals
FATAL = ("raylet", "gcs_server")  # of Ray's processes: the sweep has to be resumed
LIGHT = 0.85  # of the deaths are such as the driver survives
TOGETHER = 0.3  # of these come in pairs
PATIENT = 0.8  # of the looks at a Ray that is still starting kill nothing
STARVED = ("Ray did not start", "has not answered for")  # what a busy machine does to a driver
REAL = ("--train-turns=600", "--rungs=150,300", "--eval-dialogues=5,10,20")  # of a real model


@dataclass
class Round:
    """One sweep, of the toy or (`base_model` "tiny") of a real model on the CPU, beside the same
    one undisturbed. `seed` decides what dies, and when."""

    storage: Path
    seed: int
    asha: str  # stop | promote | off
    pack: int  # 1: each trial alone
    seeds: int = 1
    confirm: int = 0  # points that are repeated with fresh seeds at the end
    trials: int = 8
    base_model: str = "toy:0.005"
    deaths: Counter[str] = field(default_factory=Counter)
    longest_s: float = 0.0  # from a signal to the driver's end

    def __post_init__(self) -> None:
        self.draw, self.said = random.Random(self.seed), 0  # bytes on the console
        settings = {"trials": self.trials, "asha": self.asha, "seeds": self.seeds}
        settings |= {"concurrent": 1, "confirm": self.confirm, "rung_metric": "loss"}
        packed = {**settings, "pack": self.pack}
        flags = [f"--{name.replace('_', '-')}={value}" for name, value in packed.items()]
        flags += ["--set", f"base_model={self.base_model}"]
        flags += () if self.base_model.startswith("toy") else REAL
        self.sweep = Sweep(self.storage / "killed", tuple(flags))
        place = self.storage / "-".join(map(str, packed.values()))
        whole = Sweep(place, tuple(flags))
        if self.base_model.startswith("toy"):
            compute_undisturbed(place, self.base_model, name="s", **settings)
        elif not (whole.folder / "leaderboard.md").exists():  # a former round's
            whole.run()
        self.whole = whole.records

    def run(self, most_deaths: int) -> Round:
        """To the sweep's end, with no more deaths than that."""
        while True:
            self.said = self._measure_console()
            driver = self.sweep.start()
            is_fatal = False
            while not is_fatal and driver.poll() is None and self.deaths.total() < most_deaths:
                self.sweep.await_evals(self.draw.choice((0, 0, 0, 1)))
                time.sleep(self.draw.uniform(0, 1.0))
                is_fatal = self.strike(driver)
                self.check()
            code = driver.wait(timeout=10 * PATIENCE_S)
            if not is_fatal and code == 0:
                break
            last = self.sweep.console[self.said :]
            assert is_fatal or any(why in last for why in STARVED), f"ended by itself: {last}"
        assert summarise(self.sweep.records) == summarise(self.whole)
        assert render(self.sweep.folder) == render(self.whole.folder)
        return self

    def strike(self, driver: subprocess.Popen) -> bool:
        """Kills something, where there is something; whether the driver has ended by it."""
        there = sorted({kind for _, kind in list_family(driver)})
        light = [kind for kind in there if kind not in FATAL]
        heavy = [*DRIVER, *(kind for kind in there if kind in FATAL)]
        if not light and self.draw.random() < PATIENT:
            return False
        kind = self.draw.choice(light if light and self.draw.random() < LIGHT else heavy)
        if kind in DRIVER:
            if driver.poll() is not None:
                return False
            return self._signal(driver, kind)
        if not self._kill(driver, kind):
            return False
        if kind in FATAL:
            driver.wait(timeout=PATIENCE_S)
        elif self.draw.random() < TOGETHER:
            self._kill(driver, self.draw.choice(light))
        return kind in FATAL and driver.returncode != 0

    def _kill(self, driver: subprocess.Popen, kind: str) -> bool:
        """One of that kind; whether there was one."""
        victims = [process for process, own in list_family(driver) if own == kind]
        if driver.poll() is not None or not victims:
            return False
        try:
            self.draw.choice(victims).kill()
        except psutil.NoSuchProcess:
            return False
        self._count(kind)
        return True

    def _signal(self, driver: subprocess.Popen, kind: str) -> bool:
        number, since_s = signal.Signals[f"SIG{kind}"], time.monotonic()
        driver.send_signal(number)
        code = driver.wait(timeout=PATIENCE_S)
        if code == 0:  # it had ended just then
            return False
        self._count(f"driver {kind}")
        if kind != "KILL":
            self.longest_s = max(self.longest_s, time.monotonic() - since_s)
            is_unheard = self._measure_console() == self.said  # Python was still starting
            assert code == 128 + number or (code == -number and is_unheard), (
                f"{kind} ended in {code}: {self.sweep.console}"
            )
        return True

    def _count(self, kind: str) -> None:
        self.deaths[kind] += 1
        n_evals = self.sweep.count_evals()
        print(f"death {self.deaths.total()}: {kind}, after {n_evals} evaluations", flush=True)

    def _measure_console(self) -> int:
        path = self.storage / "killed" / "console"
        return path.stat().st_size if path.exists() else 0

    def check(self) -> None:
        """The invariants, whatever has just died."""
        if not (self.sweep.folder / "sweep.json").exists():
            return
        records, whole = self.sweep.records, {t.id: t for t in self.whole.trials}
        lines = (self.sweep.folder / "evals.jsonl").read_bytes().split(b"\n")[:-1]
        events = [json.loads(line) for line in lines]
        once = [(e["event"], e["trial"], e.get("turns_seen")) for e in events if "trial" in e]
        assert len(once) == len(set(once)), "something was recorded twice"
        assert [t.number for t in records.searched] == list(range(len(records.searched)))
        for trial in records.trials:
            twin = whole[trial.id]
            assert trial.config == twin.config
            curve = [(e.turns_seen, e.combined) for e in trial.evals]
            assert curve == [(e.turns_seen, e.combined) for e in twin.evals][: len(curve)]
            assert trial.state in ("RUNNING", twin.state), f"{trial.id}: {trial.reason}"


def list_family(driver: subprocess.Popen) -> list[tuple[psutil.Process, str]]:
    """(process, what a kill of it is), of those that the driver has started."""
    try:
        family = psutil.Process(driver.pid).children(recursive=True)
        named = [(p, WORKERS.get(p.name().partition(".")[0][:15])) for p in family]
    except psutil.NoSuchProcess:
        return []
    return [(process, kind) for process, kind in named if kind is not None]


def plan_round(storage: Path, number: int, base_model: str) -> Round:
    """Solo and packed, both types of ASHA, one seed a point and two, without confirmation and with
    it, in turn."""
    return Round(
        storage=storage,
        seed=number,
        asha=("promote", "stop")[number % 2],
        pack=(1, 2)[number // 2 % 2],
        seeds=(1, 2)[number // 4 % 2],
        confirm=(0, 1)[number // 8 % 2],
        base_model=base_model,
    )


def main() -> None:
    for number in (signal.SIGINT, signal.SIGHUP):  # nohup and a job in the background ignore them
        signal.signal(number, signal.SIG_DFL)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--deaths", type=int, default=250)
    parser.add_argument("--a-round", type=int, default=40, help="no more than these in one sweep")
    parser.add_argument("--first", type=int, default=0, help="number of the first round: its seed")
    parser.add_argument("--base-model", default="toy:0.005", help="tiny: the real engine")
    parser.add_argument("--record", type=Path, help="a line a round is appended here")
    flags = parser.parse_args()
    total, number, storage = 0, flags.first, Path(tempfile.mkdtemp(prefix="soak-"))
    while total < flags.deaths:
        started_s = time.monotonic()
        done = plan_round(storage, number, flags.base_model)
        done.run(min(flags.a_round, flags.deaths - total))
        shutil.rmtree(done.sweep.storage)
        line = json.dumps(
            {
                **{"round": number, "asha": done.asha, "pack": done.pack, "seeds": done.seeds},
                **{"confirm": done.confirm},
                **{"base_model": flags.base_model, "deaths": dict(sorted(done.deaths.items()))},
                **{"longest_signal_s": round(done.longest_s, 1), "is_same": True},
                **{"seconds": round(time.monotonic() - started_s)},
            }
        )
        print(line, flush=True)
        if flags.record:
            with flags.record.open("a") as file:
                file.write(line + "\n")
        total, number = total + done.deaths.total(), number + 1


if __name__ == "__main__":
    sys.exit(main())
