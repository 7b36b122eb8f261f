"""tune/plan/evidence.json from the sweeps and the pools recorded here: python collect.py"""

from pathlib import Path

from analysis.curve_pool import read_pool
from analysis.records import read_sweep
from tune.plan.evidence import PACKAGED, RecordedPoint, list_recorded, to_recorded, write_recorded

RESULTS = Path(__file__).parents[1]
SMOLLM2, EMBEDDED = 134_515_008, 1_213_568
SWEEPS = {
    "averaging/settings32": SMOLLM2,
    "layers/higher": SMOLLM2,
    "layers/rates": SMOLLM2,
    "smollm2/on-1-gpu": SMOLLM2,
    "smollm2/on-2-gpus": SMOLLM2,
    "smollm2/qlora": SMOLLM2,
}
POOLS = {"curves/smollm2": SMOLLM2, "curves/embedded": EMBEDDED}


def collect() -> list[RecordedPoint]:
    seen = [
        one
        for name, n in SWEEPS.items()
        for one in list_recorded(read_sweep(RESULTS / name), name, n)
    ]
    return seen + [one for name, n in POOLS.items() for one in read_points(name, n)]


def read_points(name: str, params: int) -> list[RecordedPoint]:
    """A pool's, each with the mean of its seeds."""
    pool = read_pool(RESULTS / name)
    base = pool.header["config"]["base"]
    curves = pool.curves[pool.curves.weights == "average"].sort_values("rung")
    ends = curves.groupby(["point", "seed"]).combined.last().groupby("point").mean()
    ended = [({**base, **pool.params[int(str(point))]}, float(end)) for point, end in ends.items()]
    return to_recorded(ended, name, params)


if __name__ == "__main__":
    write_recorded(collect(), PACKAGED)
