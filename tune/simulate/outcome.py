"""What a simulated sweep came to, and the mean of many with its uncertainty."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from trainable.result import Evaluation
from trainable.trial import TrialConfig
from tune.folder.recorder import Recorder
from tune.search.milestones import list_milestones
from tune.search.proposals import LEARNING
from tune.search.search import Search
from tune.simulate.clock import Clock, Searching
from tune.simulate.curves import Curves
from tune.simulate.replay import Replay


@dataclass(frozen=True, kw_only=True)
class Method:
    asha: str
    sampler: str = "random"  # of the points; tpe and gp begin with the space's first ones
    idle: str = "wait"


METHODS = {
    "random": Method(asha="off"),
    "stop": Method(asha="stop"),
    "promote": Method(asha="promote"),
    "promote-idle": Method(asha="promote", idle="promote"),
    **{f"{s}": Method(asha="off", sampler=s) for s in LEARNING},
    **{
        f"{s}-{asha}": Method(asha=asha, sampler=s)
        for s in LEARNING
        for asha in ("stop", "promote")
    },
    **{f"{s}-promote-idle": Method(asha="promote", idle="promote", sampler=s) for s in LEARNING},
}
RUN_OUT = "random"  # what the others are held against
RESAMPLES = 10_000
ROUNDING = 1e-9


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One simulated sweep."""

    makespan_h: float
    gpu_h: float  # of GPUs with a trial on them
    training: float  # spent on all trials, in whole trainings of one
    busy: float  # share of the slots' time from start to end, 0..1
    completed: float  # trials
    regret: float  # Combined: the best point there is, minus the one this sweep picks
    random_regret: float  # of as many random points as `training`, each trained to its end


@dataclass(frozen=True, kw_only=True)
class Beside:
    """One simulated sweep beside the same points all trained to their end on the same machine."""

    more_regret: float
    clock: float  # its time as a share of the other's
    slower: float  # per cent: 100 where it took longer, else 0


class Unrecorded(Recorder):
    """Writes no events."""

    def _append(self, event: dict[str, Any]) -> None: ...

    def _write_details(self, trial: str, evaluation: Evaluation) -> None: ...


def simulate(curves: Curves, method: str, gpus: int, pack: int, seed: int) -> Outcome:
    """A sweep of `curves.config.trials` trials on `gpus` engines of `pack` slots each."""
    curves = curves.repeat(seed)
    clock = run(curves, method, gpus, pack, seed)
    training = clock.turns / curves.config.train_turns
    return Outcome(
        makespan_h=clock.now_s / 3600,
        gpu_h=clock.gpu_s / 3600,
        training=training,
        busy=clock.slot_s / (gpus * pack * clock.now_s),
        completed=sum(t.state == "COMPLETE" for t in clock.search.searched),
        regret=curves.best - curves.true_combined(pick(clock.search)),
        random_regret=curves.best - draw_and_pick(curves, seed, max(round(training), 1)),
    )


def repeat(curves: Curves, method: str, machine: tuple[int, int], seeds: int) -> list[Outcome]:
    """`machine`: GPUs, and the slots of each."""
    return [simulate(curves, method, *machine, seed) for seed in range(seeds)]


def compare_with(outcome: Outcome, run_out: Outcome) -> Beside:
    """`run_out`: the same points, all trained to their end."""
    clock = outcome.makespan_h / run_out.makespan_h
    return Beside(
        more_regret=outcome.regret - run_out.regret,
        clock=clock,
        slower=100.0 * (clock > 1 + ROUNDING),
    )


def run(curves: Curves, method: str, gpus: int, pack: int, seed: int) -> Clock:
    """The same, as it stands at its end."""
    own = METHODS[method]
    config = replace(curves.config, asha=own.asha, idle=own.idle, sampler=own.sampler, seed=seed)
    if own.sampler not in LEARNING:
        points = curves.draw(seed, config.trials)
        return start(Replay(config, [(p, curves.to_config(p)) for p in points]), curves, gpus, pack)
    with tempfile.TemporaryDirectory(prefix="simulation-") as folder:
        search = Search(config, curves.space, Unrecorded(Path(folder)))
        return start(search, curves, gpus, pack)


def start(search: Searching, curves: Curves, gpus: int, pack: int) -> Clock:
    clock = Clock(search, curves, gpus, pack)
    clock.run()
    return clock


def pick(search: Searching) -> TrialConfig:
    """The trial that leads the leaderboard: the best of those that went furthest."""
    scored = [t for t in search.searched if t.scores]
    return max(scored, key=lambda t: (max(t.scores), t.scores[max(t.scores)])).config


def draw_and_pick(curves: Curves, seed: int, n: int) -> float:
    """What random search with n of the same points finds."""
    end = list_milestones(curves.config, curves.config.train_turns)[-1]
    points = curves.draw(seed, curves.config.trials)[:n]
    configs = list(map(curves.to_config, points))
    return curves.true_combined(max(configs, key=lambda c: curves.advance(c, -1, end).result.score))


def summarise(outcomes: Sequence[Outcome | Beside]) -> dict[str, tuple[float, float, float]]:
    """Field -> mean and its 95 % interval, by the bootstrap over the sweeps."""
    rows = np.array([list(asdict(o).values()) for o in outcomes])
    shares = np.full(len(rows), 1 / len(rows))
    drawn = np.random.default_rng(0).multinomial(len(rows), shares, RESAMPLES) @ rows / len(rows)
    lows, highs = np.percentile(drawn, (2.5, 97.5), axis=0)
    columns = zip(rows.mean(axis=0), lows, highs, strict=True)
    return {
        f.name: (float(mean), float(low), float(high))
        for f, (mean, low, high) in zip(fields(outcomes[0]), columns, strict=True)
    }
