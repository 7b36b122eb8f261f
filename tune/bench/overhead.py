"""What searching and scheduling cost, beside Ray Tune's own: python -m tune.bench.overhead

The same number of trials of the toy (a formula, no training), at the same concurrency, on the
same machine: our search, Ray's OptunaSearch with its ASHAScheduler, and both once more in reverse
order, so that what else the machine does meets both. Both reuse their workers. Ours also puts every
result on disk, a checkpoint at every milestone and a leaderboard at the end; Ray's saves no
checkpoint and keeps its other defaults. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainable.command.outcome import Outcome, make_main, start_command
from trainable.command.parser import Parser
from tune.folder.versions import find_ours
from tune.search.config import SweepConfig
from tune.search.milestones import list_milestones

if TYPE_CHECKING:
    from search_spaces.space import Space

SIDES = {"ours": "tune.run", "ray": "Ray Tune: OptunaSearch, ASHAScheduler"}
SPACE = "lora_modules"


@dataclass(frozen=True, kw_only=True)
class Cost:
    """One side's sweep, from the first proposal to the last result."""

    trials: int
    results: int
    wall_s: float
    driver_s: float  # processor seconds of the driver's process
    load: float = 0.0  # of the machine, the mean of the last minute


def compare_sides(flags: argparse.Namespace) -> Outcome:
    if flags.side:
        cost = asdict(measure_here(flags))
        print(json.dumps(cost), flush=True)
        return Outcome(facts={"sides": {flags.side: [cost]}})
    print(f"{flags.trials} trials, {flags.concurrent} at a time, {os.cpu_count()} cores")
    costs: dict[str, list[Cost]] = {side: [] for side in SIDES}
    for side in (*SIDES, *reversed(SIDES)):
        costs[side].append(measure_apart(side, flags))
    print("\n| | trials/s | results/s | results a trial | driver, ms of processor a trial | load |")
    print("|---|--:|--:|--:|--:|--:|")
    for side, name in SIDES.items():
        print(f"| {name} | {render(costs[side])} |")
    return Outcome(facts={"sides": {side: [*map(asdict, own)] for side, own in costs.items()}})


def render(costs: Sequence[Cost]) -> str:
    trials, results, wall_s, driver_s, load = (
        sum(getattr(cost, f.name) for cost in costs) for f in fields(Cost)
    )
    columns = (
        f"{trials / wall_s:.1f}",
        f"{results / wall_s:.1f}",
        f"{results / trials:.2f}",
        f"{1000 * driver_s / trials:.1f}",
        f"{load / len(costs):.1f}",
    )
    return " | ".join(columns)


def measure_apart(side: str, flags: argparse.Namespace) -> Cost:
    """In a process of its own, with a Ray of its own. Raises CalledProcessError."""
    command = [sys.executable, "-P", "-m", "tune.bench.overhead", "--side", side]
    command += ["--trials", str(flags.trials), "--concurrent", str(flags.concurrent)]
    done = subprocess.run(command, env=find_ours(), check=True, stdout=subprocess.PIPE, text=True)
    return Cost(**json.loads(done.stdout.splitlines()[-1]))


def measure_here(flags: argparse.Namespace) -> Cost:
    import ray

    ray.init("local", include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    measure = measure_ours if flags.side == "ours" else measure_ray
    with tempfile.TemporaryDirectory(prefix="overhead-") as scratch:
        cost = measure(*compose_sweep(Path(scratch), flags.trials, flags.concurrent))
    return replace(cost, load=os.getloadavg()[0])


def compose_sweep(storage: Path, trials: int, concurrent: int) -> tuple[SweepConfig, Space]:
    from search_spaces.find import find_space
    from tune.search.profiles import compose

    values = {
        "name": "overhead",
        "space": SPACE,
        "storage": str(storage),
        "baseline": False,
        "pack": "1",
    }
    config = compose("tiny", {**values, "trials": trials, "concurrent": concurrent})
    return config, find_space(SPACE).fix({"base_model": "toy"})


def measure_ours(config: SweepConfig, space: Space) -> Cost:
    from analysis.records import read_sweep
    from tune.driver.sweep import run_sweep
    from tune.plan.new import Plan

    config.folder.mkdir()
    driver_s = time.process_time()
    run_sweep(Plan(config=config, space=space))
    driver_s = time.process_time() - driver_s
    trials = read_sweep(config.folder).searched
    begun_s = min(trial.started_s for trial in trials)
    ended_s = max(trial.ended_s or 0.0 for trial in trials)
    results = sum(len(trial.evals) for trial in trials)
    return Cost(trials=len(trials), results=results, wall_s=ended_s - begun_s, driver_s=driver_s)


def measure_ray(config: SweepConfig, space: Space) -> Cost:
    import ray
    from ray import tune as ray_tune
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.optuna import OptunaSearch

    share = {"cpu": ray.cluster_resources()["CPU"] / config.concurrent}
    tuner = ray_tune.Tuner(
        ray_tune.with_resources(make_trainable(config, space), share),
        tune_config=ray_tune.TuneConfig(
            metric="combined",
            mode="max",
            search_alg=OptunaSearch(dict(space.searched), metric="combined", mode="max", seed=0),
            scheduler=ASHAScheduler(
                time_attr="turns_seen",
                grace_period=config.rungs_turns[0],
                reduction_factor=config.eta,
                max_t=config.train_turns,
            ),
            num_samples=config.trials,
            max_concurrent_trials=config.concurrent,
            reuse_actors=True,
        ),
        run_config=ray_tune.RunConfig(
            storage_path=config.storage,
            verbose=0,
            checkpoint_config=ray_tune.CheckpointConfig(checkpoint_at_end=False),
        ),
    )
    started_s, driver_s = time.perf_counter(), time.process_time()
    ended = tuner.fit()
    wall_s, driver_s = time.perf_counter() - started_s, time.process_time() - driver_s
    results = sum(int((ended[i].metrics or {})["training_iteration"]) for i in range(len(ended)))
    return Cost(trials=len(ended), results=results, wall_s=wall_s, driver_s=driver_s)


def make_trainable(config: SweepConfig, space: Space) -> Any:
    """The toy as Ray's documentation would have it: a step a milestone, one number a result."""
    from ray import tune as ray_tune

    class Toy(ray_tune.Trainable):
        def setup(self, point: dict[str, Any]) -> None:
            from trainable.solo.toy import ToyFinetuner

            trial = space.to_config(point, config.base)
            self.finetuner = ToyFinetuner(trial)
            self.milestones = list(list_milestones(config, trial.train_turns))

        def step(self) -> dict[str, Any]:
            turns, asked = self.milestones.pop(0)
            self.finetuner.train_until(turns)
            result = self.finetuner.evaluate(asked).result
            is_last = not self.milestones
            return {"combined": result.combined, "turns_seen": turns, "done": is_last}

        def reset_config(self, point: dict[str, Any]) -> bool:
            self.setup(point)
            return True

    return Toy


def build_parser() -> Parser:
    parser = Parser("tune.bench.overhead", __doc__, name="bench.overhead")
    parser.add_argument("--trials", type=int, default=1000, help="of each sweep")
    parser.add_argument("--concurrent", type=int, default=8, help="trials at a time")
    parser.add_argument("--side", choices=SIDES, help="measure one side in this process")
    return parser


main = make_main(build_parser, compare_sides)

if __name__ == "__main__":
    start_command(main)
