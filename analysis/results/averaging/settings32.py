"""The 16 recorded settings of the sweep smollm2/qlora that lasted, and 16 random ones beside them:
python -m tune.run --space analysis/results/averaging/settings32.py --trials 32 --asha off ...
"""

from dataclasses import replace
from pathlib import Path

import optuna

from analysis.records import read_sweep
from search_spaces.qlora import SPACE as QLORA

RECORDED = Path(__file__).parents[1] / "smollm2" / "qlora"
LASTED = (
    *("0001", "0041", "0054", "0021", "0025", "0028", "0029", "0062"),
    *("0061", "0040", "0004", "0008", "0046", "0033", "0044", "0059"),
)
OPEN = QLORA.fix({"quantisation": "nf4"})


def recall_points() -> list[dict[str, object]]:
    trials = {trial.id: trial for trial in read_sweep(RECORDED).trials}
    return [{n: trials[name].params[n] for n in OPEN.searched} for name in LASTED]


def draw_points() -> list[dict[str, object]]:
    """Optuna's random sampler from seed 1: nobody has selected among these."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    return [study.ask(dict(OPEN.searched)).params for _ in LASTED]


SPACE = replace(OPEN, name="settings32", first=(*recall_points(), *draw_points()))
