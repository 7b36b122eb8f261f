"""Numbers in a reading: a compared value, a rank correlation, a list."""

from collections.abc import Sequence

from analysis.curves import common_turns, is_by_loss
from analysis.labels import format_score, format_signed, label_objective
from analysis.records import SweepRecords

FEWEST = 5  # pairs of which a rank correlation says something
CHANCE = 0.05


def show_score(records: SweepRecords, value: float) -> str:
    """A value of the objective."""
    return format_score(value, records.objective)


def name_compared(records: SweepRecords) -> str:
    """`Combined at 1,600 turns`; without training `Combined`."""
    turns = common_turns(records)
    label = label_objective("loss" if is_by_loss(records, turns) else records.objective)
    return f"{label} at {turns:,} turns" if turns else label


def show_compared(records: SweepRecords, value: float) -> str:
    """What compares trials at equal training: the objective, or the loss where rungs go by it."""
    by_loss = is_by_loss(records, common_turns(records))
    return format_score(value, "loss" if by_loss else records.objective)


def correlate(one: Sequence[float], other: Sequence[float]) -> tuple[float, float]:
    """Spearman's rank correlation, and the probability that chance makes one as strong; (0, 1)
    where there are too few pairs, or one side has one value only."""
    from scipy.stats import spearmanr

    if len(one) < FEWEST or len(set(one)) < 2 or len(set(other)) < 2:
        return 0.0, 1.0
    found = spearmanr(one, other)
    return float(found.statistic), float(found.pvalue)


def tell_correlation(pair: str, one: Sequence[float], other: Sequence[float]) -> str:
    """A sentence on how two columns go together.

    >>> tell_correlation("size and value", [1, 2, 3, 4, 5], [1, 2, 3, 5, 8])
    'Over 5 points, size and value have a rank correlation of +1.00, more than chance makes.'
    >>> tell_correlation("size and value", [1], [3])
    'Fewer than 5 points do not tell how size and value go together.'
    """
    if len(one) < FEWEST:
        return f"Fewer than {FEWEST} points do not tell how {pair} go together."
    rho, chance = correlate(one, other)
    more = "more than chance makes" if chance < CHANCE else "which chance can make"
    told = f"{pair} have a rank correlation of {format_signed(rho, 2)}, {more}"
    return f"Over {len(one):,} points, {told}."
