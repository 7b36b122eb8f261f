"""At which rate? Every selection at every rate, with one seed: compared by the loss alone."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from points import ARMS, RATES, SEARCHED

from search_spaces.space import Space

SPACE = Space(
    name="rates",
    question="Which learning rate suits each selection of layers?",
    searched=SEARCHED,
    first=tuple({**arm, "learning_rate": rate} for arm in ARMS for rate in RATES),
)
