"""At which rate? Every variant at four, with one seed: compared by the loss alone."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from points import ARMS, CONDITIONS, HIGH, RATES, SEARCHED, spell

from search_spaces.space import Space

SPACE = Space(
    name="rates",
    question="Which learning rate suits each variant of LoRA?",
    searched=SEARCHED,
    first=tuple(spell(name, rate) for name in ARMS for rate in RATES.get(name, HIGH)),
    conditions=CONDITIONS,
)
