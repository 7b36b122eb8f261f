"""tune/plan/evidence.json from the sweeps and the pool recorded here: python collect.py"""

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
    "simulation/lora_modules": EMBEDDED,
    "simulation/qlora": EMBEDDED,
    "smollm2/on-1-gpu": SMOLLM2,
    "smollm2/on-2-gpus": SMOLLM2,
    "smollm2/qlora": SMOLLM2,
}
POOL = "curves/smollm2"


def collect() -> list[RecordedPoint]:
    seen = [
        one
        for name, n in SWEEPS.items()
        for one in list_recorded(read_sweep(RESULTS / name), name, n)
    ]
    pool = read_pool(RESULTS / POOL)
    base = pool.header["config"]["base"]
    ends = pool.select(0).groupby("point").combined.last()
    ended = [({**base, **pool.params[int(str(point))]}, float(end)) for point, end in ends.items()]
    return [*seen, *to_recorded(ended, POOL, SMOLLM2)]


if __name__ == "__main__":
    write_recorded(collect(), PACKAGED)
