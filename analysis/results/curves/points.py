"""Points of the space `qlora` that nobody has selected: python -m tune.run --space .../points.py

DRAW says which (run.sh): the numbers of the draw's points, as 0-63, or `repeated`, the sixteen of
the first 64 that further seeds repeat.
"""

import os
import random
from dataclasses import replace

import optuna

from search_spaces.qlora import SPACE as QLORA

N_REPEATED = 16
SEARCHED = {name: kind for name, kind in QLORA.searched.items() if name != "quantisation"}


def draw_points(n: int) -> list[dict[str, object]]:
    """Optuna's random sampler from seed 1: the first n of an endless draw."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    return [study.ask(dict(SEARCHED)).params for _ in range(n)]


def choose_points(draw: str) -> list[dict[str, object]]:
    if draw == "repeated":
        numbers = sorted(random.Random(1).sample(range(64), N_REPEATED))
        return [draw_points(64)[number] for number in numbers]
    first, last = map(int, draw.split("-"))
    return draw_points(last + 1)[first:]


SPACE = replace(
    QLORA,
    name="curves",
    searched=SEARCHED,
    fixed={**QLORA.fixed, "quantisation": "nf4"},
    first=tuple(choose_points(os.environ.get("DRAW", "0-63"))),
)
