"""A pool of learning curves: points of a space that nobody selected, each trained to its end.

    pool = read_pool(FOLDER)    # DataFrames: pool.points, pool.curves, pool.dialogues

What methods of search are compared on: a search sees one seed on half of the dialogues, and what it
finds is worth the mean of all seeds on the other half.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from analysis.importance import read_distributions
from analysis.noise import score_combined
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


@dataclass(frozen=True, kw_only=True)
class Pool:
    """Trained points of one space with their learning curves, from a folder (`read_pool`)."""

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
