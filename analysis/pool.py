"""A pool of learning curves: points of a space that nobody selected, each trained to its end.

    python -m analysis.pool FOLDER SWEEP...    # of sweeps run with --asha off
    pool = read_pool(FOLDER)    # DataFrames: pool.points, pool.curves, pool.dialogues

What methods of search are compared on: a search sees one seed on half of the dialogues, and what it
finds is worth the mean of all seeds on the other half.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analysis.importance import read_distributions
from analysis.noise import read_counts, score_combined
from analysis.records import SweepRecords, TrialRecord, find_level, find_sweep, read_sweep
from trainable.command.outcome import Outcome, carry_out
from trainable.command.parser import Parser
from trainable.trial import ConfigError

if TYPE_CHECKING:
    import optuna

HEADER = "pool.json"
TABLES = ("curves", "dialogues")
RUN = ["point", "seed", "weights"]  # what names one trial of a pool
COUNTS = [  # of a dialogue: hits, n-grams that match and in all, tokens of replies and references
    *("inform", "success", "match1", "match2", "match3", "match4"),
    *("total1", "total2", "total3", "total4", "tokens", "reference_tokens"),
]
MEASURED = (
    *("turns_seen", "steps", "train_s", "n_dialogues", "n_turns", "loss_nats", "nats_per_word"),
    *("nats_per_placeholder", "bleu", "inform", "success", "combined", "eval_s"),
)
PLACEHOLDERS = ("per_reply", "f1")


@dataclass(frozen=True, kw_only=True)
class Pool:
    name: str
    # of the sweep that the points come from: space, config (SweepConfig), versions, commit
    header: Mapping[str, Any]
    params: tuple[Mapping[str, Any], ...]  # of the points by number: the searched fields they have
    # a row an evaluation: point, seed, weights (average, or last: those of the last step), rung (in
    # turns), then as EvalResult has it; of the placeholders placeholders_per_reply and _f1
    curves: pd.DataFrame
    dialogues: pd.DataFrame  # a row a dialogue of a trial's last evaluation: its counts

    @property
    def points(self) -> pd.DataFrame:
        """By number: the searched fields, empty where a point lacks one."""
        return pd.DataFrame([dict(p) for p in self.params]).rename_axis("point")

    def score_half(self, half: str) -> pd.Series[float]:
        """(point, seed) -> Combined, 0..200, at the end with the averaged weights, on half of the
        dialogues: a (the first, third, ... by name) or b."""
        own = self.dialogues[self.dialogues.weights == "average"]
        ids = sorted(own.dialogue.unique())
        chosen = own[own.dialogue.isin(ids["ab".index(half) :: 2])]
        sums = chosen.groupby(["point", "seed"])[COUNTS].sum()
        sizes = chosen.groupby(["point", "seed"]).size()
        combined = [
            float(score_combined(size, row[None])[0])
            for size, row in zip(sizes, sums.to_numpy(np.float64), strict=True)
        ]
        return pd.Series(combined, index=sums.index, name="combined")

    def find_truth(self) -> pd.Series[float]:
        """point -> its worth: the mean over its seeds of Combined on half b."""
        return self.score_half("b").groupby("point").mean()

    def to_study(self, seed: int = 0) -> optuna.Study:
        """One seed as a study of Optuna: a trial a point, Combined at the end as its value, the
        loss (nats a word) at every rung as intermediate values by turns."""
        import optuna

        searched = read_distributions(self.header["space"])
        study = optuna.create_study(direction="maximize", study_name=self.name)
        for point, rows in self.select(seed).groupby("point"):
            params = dict(self.params[int(str(point))])
            study.add_trial(
                optuna.trial.create_trial(
                    params=params,
                    distributions={name: searched[name] for name in params},
                    value=float(rows.combined.iloc[-1]),
                    intermediate_values=dict(zip(rows.rung, rows.nats_per_word, strict=True)),
                )
            )
        return study

    def to_blackbox(self, metrics: Sequence[str] = ("combined", "nats_per_word")) -> dict[str, Any]:
        """What Syne Tune's BlackboxTabular takes beside its two spaces: hyperparameters,
        fidelity_values (turns), objectives_names and objectives_evaluations [points, seeds,
        fidelities, metrics], nan where a point was not trained with a seed."""
        rows = self.curves[self.curves.weights == "average"]
        rungs = sorted(rows.rung.unique())
        axes = (sorted(rows.point.unique()), sorted(rows.seed.unique()), rungs)
        whole = pd.MultiIndex.from_product(axes, names=["point", "seed", "rung"])
        values = rows.set_index(whole.names)[list(metrics)].reindex(whole).to_numpy(np.float64)
        return {
            "hyperparameters": self.points.loc[axes[0]],
            "fidelity_values": np.array(rungs),
            "objectives_names": list(metrics),
            "objectives_evaluations": values.reshape(*map(len, axes), len(metrics)),
        }

    def select(self, seed: int, weights: str = "average") -> pd.DataFrame:
        """The evaluations of one seed, by point and turns."""
        is_own = (self.curves.seed == seed) & (self.curves.weights == weights)
        return self.curves[is_own].sort_values(["point", "rung"])


def is_pool(folder: Path) -> bool:
    return (folder / HEADER).is_file()


def read_pool(folder: Path) -> Pool:
    """Raises ConfigError when the folder holds none."""
    try:
        header = json.loads((folder / HEADER).read_text(encoding="utf-8"))
        tables = {name: pd.read_parquet(folder / f"{name}.parquet") for name in TABLES}
    except FileNotFoundError as error:
        raise ConfigError(
            f"{folder} holds no pool of curves ({error.filename} is missing): make one of sweeps "
            "with python -m analysis.pool"
        ) from error
    params = tuple(header.pop("points"))
    return Pool(name=folder.name, header=header, params=params, **tables)


def collect(name: str, sweeps: Sequence[SweepRecords]) -> Pool:
    """The trials of some sweeps that reached their end; the same point of another sweep is the same
    point. Raises ConfigError when there are none."""
    ended = [(s, t) for s in sweeps for t in s.searched if t.state == "COMPLETE" and t.last]
    if not ended:
        raise ConfigError("no trial of these sweeps reached its end: run them with --asha off")
    points: dict[str, int] = {}
    runs = [
        (describe_run(trial, points.setdefault(spell(trial), len(points))), sweep, trial)
        for sweep, trial in ended
    ]
    return Pool(
        name=name,
        header=spell_header(sweeps[0]),
        params=tuple(json.loads(point) for point in points),
        curves=pd.DataFrame([row for run in runs for row in list_evals(*run)]),
        dialogues=pd.concat([list_dialogues(*run) for run in runs], ignore_index=True),
    )


def spell(trial: TrialRecord) -> str:
    return json.dumps(dict(trial.params), sort_keys=True)


def describe_run(trial: TrialRecord, point: int) -> dict[str, Any]:
    weights = "average" if trial.config.get("averaging") else "last"
    return {"point": point, "seed": trial.config["seed"], "weights": weights}


def list_evals(
    run: Mapping[str, Any], sweep: SweepRecords, trial: TrialRecord
) -> list[dict[str, Any]]:
    return [
        {
            **run,
            "rung": find_level(sweep.levels_turns, e.turns_seen),
            **{name: getattr(e, name) for name in MEASURED},
            **{f"placeholders_{n}": (e.placeholders or {}).get(n) for n in PLACEHOLDERS},
        }
        for e in trial.evals
    ]


def list_dialogues(run: Mapping[str, Any], sweep: SweepRecords, trial: TrialRecord) -> pd.DataFrame:
    counts = read_counts(sweep.folder, trial.id)
    if counts is None:
        raise ConfigError(f"{sweep.folder} has no counts of trial {trial.id}'s dialogues")
    rows = pd.DataFrame(counts.counts.astype(np.int32), columns=COUNTS)
    return rows.assign(dialogue=counts.ids, **run)


def spell_header(sweep: SweepRecords) -> dict[str, Any]:
    return {
        **{"space": dict(sweep.space), "config": dict(sweep.config)},
        **{"versions": dict(sweep.versions), "commit": sweep.commit},
    }


def write_pool(pool: Pool, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    header = json.dumps({**pool.header, "points": pool.params}, indent=1) + "\n"
    (folder / HEADER).write_text(header, encoding="utf-8")
    for name in TABLES:
        table: pd.DataFrame = getattr(pool, name)
        table.to_parquet(folder / f"{name}.parquet", compression="zstd")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = Parser("analysis.pool", __doc__)
    parser.add_argument("folder", type=Path, help="where the pool's files are written")
    parser.add_argument("sweeps", nargs="+", metavar="SWEEP", help="names under runs/, or folders")
    return carry_out(parser, make_pool, arguments)


def make_pool(flags: Any) -> Outcome:
    sweeps = [read_sweep(find_sweep(name)) for name in flags.sweeps]
    pool = collect(flags.folder.name, sweeps)
    write_pool(pool, flags.folder)
    n_trials = len(pool.curves.drop_duplicates(RUN))
    print(f"{flags.folder}: {len(pool.params)} points, {n_trials} trials")
    return Outcome(facts={"points": len(pool.params), "trials": n_trials})


if __name__ == "__main__":
    sys.exit(main())
