"""Learning curves to replay that sweeps without ASHA have recorded: one sweep's, or a pool's."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from analysis.machines import FORWARD
from analysis.records import EvalRecord, SweepRecords, TrialRecord
from search_spaces.space import Space
from trainable.result import ReplyScores
from trainable.trial import ConfigError, TrialConfig
from trainable.worker.lease import Milestone
from tune.search.config import SweepConfig
from tune.simulate.curves import Curves, Point, Stretch

if TYPE_CHECKING:
    import pandas as pd

    from analysis.curve_pool import Pool


class Recorded(Curves):
    """Curves of trials that reached their end: of each config some runs, one a seed."""

    def __init__(
        self,
        space: Space,
        config: SweepConfig,
        runs: Mapping[TrialConfig, Sequence[TrialRecord]],
        truth: Mapping[TrialConfig, float],
    ) -> None:
        self.space, self.config = space, config
        self.runs, self.truth = runs, truth
        self.configs = {frozenset(t[0].params.items()): config for config, t in runs.items()}
        self.best = max(truth.values())
        self.without_replies: dict[tuple[str, int], EvalRecord] = {}
        self.most_dialogues = max(e.n_dialogues for r in runs.values() for t in r for e in t.evals)

    def to_config(self, point: Point) -> TrialConfig:
        return self.configs[frozenset(point.items())]

    def draw(self, seed: int, n: int) -> tuple[Point, ...]:
        if n > len(self.runs):
            raise ConfigError(
                f"--trials must be at most {len(self.runs)}, the curves recorded, not {n}"
            )
        points = [trials[0].params for trials in self.runs.values()]
        return tuple(random.Random(seed).sample(points, n))

    def advance(self, config: TrialConfig, seen: int, milestone: Milestone) -> Stretch:
        trials = self.runs[config]
        trial = trials[self.seed % len(trials)]
        reached = trial.eval_at(milestone.turns)
        assert reached is not None, f"trial {trial.id} has no evaluation at {milestone.turns} turns"
        if not milestone.asked.replies:
            place = (trial.id, milestone.turns)
            if place not in self.without_replies:
                self.without_replies[place] = self._drop_replies(reached)
            reached = self.without_replies[place]
        before = next((e for e in trial.evals if e.turns_seen == seen), None)
        trained_s = reached.train_s - (before.train_s if before else 0.0)
        turns = reached.turns_seen - (before.turns_seen if before else 0)
        return Stretch(turns, trained_s + reached.eval_s, reached)

    def _drop_replies(self, e: EvalRecord) -> EvalRecord:
        """The evaluation as it would be of the loss alone, on as many dialogues as any was made on.
        Earlier records have the loss a token, which orders the trials of one tokenizer alike."""
        loss = e.loss_nats if e.nats_per_word is None else e.nats_per_word
        if e.combined is None:
            return e
        n_turns = e.n_turns / e.n_dialogues * self.most_dialogues
        eval_s = FORWARD * e.train_s / max(e.turns_seen, 1) * n_turns
        return replace(e, combined=None, nats_per_word=loss, eval_s=eval_s)

    def true_combined(self, config: TrialConfig) -> float:
        return self.truth[config]


def open_sweep(records: SweepRecords) -> Recorded:
    """What a search saw at a trial's end is taken for the truth. Raises ConfigError when no trial
    reached its end."""
    space, config = Space.from_dict(records.space), read_config(records)
    ended = [t for t in records.searched if t.state == "COMPLETE" and t.last]
    if not ended:
        raise ConfigError(
            f"--curves needs a sweep with trials that reached their end, and {records.folder} "
            "has none: run one with --asha off"
        )
    runs = {space.to_config(trial.params, config.base): (trial,) for trial in ended}
    truth = {key: trials[0].evals[-1].score for key, trials in runs.items()}
    return Recorded(space, config, runs, truth)


def open_pool(pool: Pool, numbers: Sequence[int]) -> Recorded:
    """A search sees one seed on half of the dialogues; a point's true score is the mean of its
    seeds on the other half. `numbers`: of the points."""
    space, config = Space.from_dict(pool.header["space"]), read_settings(pool.header["config"])
    seen, truth = pool.score_half("a").to_dict(), pool.find_truth().to_dict()
    runs: dict[TrialConfig, list[TrialRecord]] = {}
    final: dict[TrialConfig, float] = {}
    rows = pool.curves[(pool.curves.weights == "average") & pool.curves.point.isin(numbers)]
    for (point, seed), evals in rows.sort_values("rung").groupby(["point", "seed"]):
        params = pool.params[int(str(point))]
        key = space.to_config(params, config.base)
        runs.setdefault(key, []).append(build_trial(params, evals, seen[point, seed]))
        final[key] = truth[point]
    return Recorded(space, config, runs, final)


def build_trial(params: Point, rows: pd.DataFrame, combined: float) -> TrialRecord:
    """A trial of a pool, with `combined` at its end."""
    known = {f.name for f in fields(EvalRecord)}
    absent = vars(ReplyScores.absent(0, 0))
    evals = [
        EvalRecord(split="validation", **{**absent, **{n: v for n, v in row.items() if n in known}})
        for row in rows.to_dict("records")
    ]
    last = replace(evals[-1], combined=combined)
    name = f"{rows.point.iloc[0]}-{rows.seed.iloc[0]}"
    return TrialRecord(id=name, number=0, params=params, config={}, evals=(*evals[:-1], last))


def read_config(records: SweepRecords) -> SweepConfig:
    try:
        return read_settings(records.config)
    except TypeError as error:
        raise ConfigError(
            f"{records.folder / 'sweep.json'} does not hold a sweep's settings ({error}): give "
            "--curves a sweep of tune.run"
        ) from error


def read_settings(config: Mapping[str, Any]) -> SweepConfig:
    own = {"baseline": False, "seeds": 1, "confirm": 0, "calibrate": None}
    return SweepConfig.from_dict({**config, **own})
