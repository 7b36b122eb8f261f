"""Many sweeps at once whose truth is known: scores and the dialogues' covariance, as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from analysis.claims.variance import Design, Floats, Noise, estimate_noise

# Standard deviations in points of Combined, as in ../shared/signal/README.md: an order of the
# dialogues moves all points alike by 3 to 5, and each by itself by 1 (averaged weights) to 3.
ORDER, SEED = 3.0, 2.0
DIALOGUES = 60  # each stands for several, so that arrays stay small
ALL_ALIKE, POINT, TRIAL = 10.0, 5.0, 7.0  # of one dialogue's score


def simulate(
    rng: np.random.Generator,
    trues: Floats,
    n_seeds: int | Sequence[int],
    *,
    seed_sd: float | Floats = SEED,
    order_sd: float = ORDER,
) -> tuple[Noise, Floats]:
    """`trues`: [sweeps, points]. Every point is trained with the same seeds (the first so many of
    them, where `n_seeds` tells of each point) and asked the same dialogues. Also the scores,
    [sweeps, points, seeds]."""
    sweeps, points = trues.shape
    counts = [n_seeds] * points if isinstance(n_seeds, int) else n_seeds
    n_seeds = max(counts)

    def draw(sd: Any, *shape: int) -> Floats:
        return np.asarray(sd * rng.standard_normal((sweeps, *shape)), dtype=np.float64)

    trained = trues[..., None] + draw(order_sd, 1, n_seeds)
    trained = trained + draw(1.0, points, n_seeds) * np.reshape(seed_sd, (-1, 1))
    asked = draw(ALL_ALIKE, 1, 1, DIALOGUES) + draw(POINT, points, 1, DIALOGUES)
    asked = asked + draw(TRIAL, points, n_seeds, DIALOGUES)
    scores = trained + asked.mean(axis=-1)
    there = np.arange(n_seeds) < np.array(counts)[:, None]  # [points, seeds]
    centred = (asked - asked.mean(axis=-1, keepdims=True))[:, there]
    covariance = centred @ np.swapaxes(centred, -1, -2) / DIALOGUES**2
    of_points, of_seeds = np.nonzero(there)
    design = Design(points=tuple(of_points.tolist()), seeds=tuple(of_seeds.tolist()))
    return estimate_noise(scores[:, there], covariance, design), scores


def with_lead(sweeps: int, points: int, lead: float, place: int = 0) -> Floats:
    """[sweeps, points]: the one at `place` is ahead of the others by `lead`."""
    trues = np.full((sweeps, points), 85.0)
    trues[:, place] += lead
    return trues
