"""Is what tune.recommend says of SmolLM2-135M borne out by the pool of 64 random points?

    python analysis/results/recommend/check.py

The rule that the other sweeps make chooses one of the points. It is worth Combined on half of the
dialogues, the mean of its seeds; the best of the pool is the one that the other half says is best.
Intervals: 95 % by the bootstrap over the dialogues, all points on the same ones.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from analysis.curve_pool import COUNTS, Pool, read_pool
from analysis.noise import Floats, score_combined
from tune.plan.evidence import predict, read_packaged

NAME = "curves/smollm2"
RESAMPLES = 2_000


def main() -> None:
    own = [one for one in read_packaged() if one.sweep == NAME]
    others = [one for one in read_packaged() if one.sweep != NAME]
    picked = int(predict([one.point for one in own], others).argmin())
    pool = read_pool(Path(__file__).parents[1] / NAME)
    best = int(pool.score_half("a").groupby("point").mean().to_numpy().argmax())
    drawn = draw_worths(pool)
    print(f"picked: point {picked}, {describe(drawn[:, picked])}")
    print(f"the best of the pool: point {best}, {describe(drawn[:, best])}")
    print(f"regret: {describe(drawn[:, best] - drawn[:, picked])}")
    print(f"of a random point: {describe(drawn[:, [best]].mean(axis=1) - drawn.mean(axis=1))}")
    print(f"points that are worse: {int((drawn[0] < drawn[0, picked]).sum())} of {len(own)}")


def draw_worths(pool: Pool) -> Floats:
    """[1 + resamples, points]: the mean over the seeds of Combined on half b, of all its dialogues
    first."""
    rows = pool.dialogues[pool.dialogues.weights == "average"]
    ids = sorted(rows.dialogue.unique())[1::2]
    rows = rows[rows.dialogue.isin(ids)].sort_values("dialogue")
    shares = np.full(len(ids), 1 / len(ids))
    drawn = np.random.default_rng(0).multinomial(len(ids), shares, RESAMPLES)
    weights = np.concatenate([np.ones((1, len(ids))), drawn])
    scored = {
        run: score_combined(len(ids), weights @ own[COUNTS].to_numpy(np.float64))
        for run, own in rows.groupby(["point", "seed"])
    }
    return pd.DataFrame(scored).T.groupby(level=0).mean().T.to_numpy()


def describe(values: Floats) -> str:
    low, high = np.percentile(values[1:], (2.5, 97.5))
    return f"{values[0]:.1f} [{low:.1f}, {high:.1f}]"


if __name__ == "__main__":
    main()
