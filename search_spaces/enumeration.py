"""All points of a space, for the search's last ones, which chance hardly finds."""

from collections.abc import Iterator
from typing import Any

from optuna.distributions import BaseDistribution

from search_spaces.distributions import list_values
from search_spaces.space import Space


def list_points(space: Space) -> Iterator[dict[str, Any]]:
    """Every point of a space of whole numbers and choices, one after another; a continuous field
    stands at its ends alone."""
    digits: list[int] = []  # which of its values each field of the point has
    while True:
        sizes: list[int] = []

        def choose(name: str, distribution: BaseDistribution, sizes: list[int] = sizes) -> Any:
            values = list_values(distribution)
            if len(sizes) == len(digits):
                digits.append(0)
            sizes.append(len(values))
            return values[digits[len(sizes) - 1]]

        yield space.sample(choose)
        while digits and digits[-1] == sizes[len(digits) - 1] - 1:
            digits.pop()
        if not digits:
            return
        digits[-1] += 1
