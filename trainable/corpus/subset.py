"""The dialogues that a validation scores: the same for every trial, more at higher rungs."""

import random
from collections import defaultdict
from collections.abc import Sequence

from trainable.dialogue.dialogue import Dialogue


def validation_subset(
    dialogues: Sequence[Dialogue], n: int | None, seed: int = 0
) -> tuple[Dialogue, ...]:
    """The first `n` (None: all) of one fixed order of whole dialogues, so that each larger subset
    contains the smaller. Every prefix is stratified: each combination of goal domains comes
    up as often as its share says, to within a dialogue or so."""
    strata: dict[tuple[str, ...], list[Dialogue]] = defaultdict(list)
    for dialogue in sorted(dialogues, key=lambda d: d.id):
        strata[dialogue.domains].append(dialogue)
    rng = random.Random(seed)
    places = []
    for domains in sorted(strata):
        members = strata[domains]
        rng.shuffle(members)
        start = rng.random()
        # Evenly over [0, 1): a prefix of the merged order takes each stratum's share.
        places += [((i + start) / len(members), m.id, m) for i, m in enumerate(members)]
    return tuple(member for _, _, member in sorted(places, key=lambda p: p[:2])[:n])
