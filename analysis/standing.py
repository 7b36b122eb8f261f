"""The points that trained equally long: how sure their scores are, and who lies behind whom."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from analysis.choice import PointResult
from analysis.claims.chance import Posterior, find_chances, fit_posterior
from analysis.claims.contrasts import Comparison, compare_with_highest
from analysis.claims.variance import Design, Floats, Noise, estimate_noise
from analysis.labels import count_points
from analysis.noise import draw_values, read_counts
from analysis.records import EvalRecord, TrialRecord

BELIEVED = 40  # points that may be the best: those after them are far behind
BOTH, DIALOGUES, NOTHING = "dialogues and seeds", "dialogues", ""


@dataclass(frozen=True, kw_only=True, eq=False)
class Standing:
    """Points with a score, the highest first or the confirmed ones alone, at equal training."""

    points: tuple[PointResult, ...]
    scores: Floats  # [trials], point after point
    draws: Floats | None  # [resamples, trials]: on resampled dialogues, the same for all
    covariance: Floats  # [trials, trials]: what the choice of dialogues makes of the scores
    is_trained: bool  # else seeds decide nothing, as in decoding
    unit: float = 1.0  # of the scores: what a point of Combined is to Combined

    @cached_property
    def noise(self) -> Noise:
        return self._estimate(range(len(self.points)))

    @property
    def holds(self) -> str:
        """What an interval of the scores holds."""
        if self.noise.df:
            return BOTH
        return DIALOGUES if self.covariance.any() else NOTHING

    @cached_property
    def compared(self) -> tuple[int, ...]:
        """Places of the points that may be compared: those of two seeds at least, or all where
        nothing was trained."""
        places = range(len(self.points))
        if self.is_trained:
            places = [i for i in places if len(self.points[i].trials) > 1]  # type: ignore[assignment]
        return tuple(places) if len(places) > 1 and (self.covariance.any() or self.noise.df) else ()

    @cached_property
    def comparison(self) -> Comparison | None:
        """Of the compared, with the highest of them."""
        return compare_with_highest(self._estimate(self.compared)) if self.compared else None

    @property
    def is_adjusted(self) -> bool:
        """Whether the compared have different seeds, of which the same are paired."""
        shares = self._estimate(self.compared).shares if self.compared else np.eye(1)
        return bool(np.abs(shares - np.diag(np.diagonal(shares))).max() > 1e-6)

    @cached_property
    def half_widths(self) -> Floats:
        """[points]: of the scores' 95 % intervals."""
        widths = self.noise.half_widths()
        if self.compared:
            widths[list(self.compared)] = self._estimate(self.compared).half_widths()
        return widths

    @cached_property
    def posterior(self) -> Posterior | None:
        """None for a single point."""
        places = range(min(len(self.points), BELIEVED))
        has_beliefs = len(places) > 1 and self.holds
        return fit_posterior(self._estimate(places, self.unit)) if has_beliefs else None

    @cached_property
    def chances(self) -> tuple[float, ...]:
        """The probability that each point is the best of them; none for a single one, and none
        where one seed each shows nothing of what another seed would make of a score."""
        if self.posterior is None or (self.is_trained and not self.noise.df):
            return ()
        known = find_chances(self.posterior).tolist()
        return (*known, *[0.0] * (len(self.points) - len(known)))

    def _estimate(self, places: Sequence[int], unit: float = 1.0) -> Noise:
        """The noise of those points among themselves, in units of so much."""
        owners = np.repeat(range(len(self.points)), [len(p.trials) for p in self.points])
        kept = np.flatnonzero(np.isin(owners, list(places)))
        seeds = [int(t.config.get("seed") or 0) for p in self.points for t in p.trials]
        design = Design(
            points=tuple(np.searchsorted(list(places), owners[kept]).tolist()),
            seeds=tuple(seeds[i] for i in kept),
        )
        covariance = self.covariance[np.ix_(kept, kept)] / unit**2
        return estimate_noise(self.scores[kept] / unit, covariance, design)


def find_standing(folder: Path, points: Sequence[PointResult], *, is_trained: bool) -> Standing:
    """Of points that trained equally long, each with a score of every seed."""
    trials = [t for p in points for t in p.trials]
    evals = [e for p in points for e in p.evals]
    draws = draw_all(folder, trials, evals)
    known = np.atleast_2d(np.cov(draws.T)) if draws is not None else _assume(points)
    return Standing(
        points=tuple(points),
        scores=np.array([e.score for e in evals]),
        draws=draws,
        covariance=known,
        is_trained=is_trained,
        unit=count_points(evals[0].name, max(abs(e.score) for e in evals)),
    )


def draw_all(
    folder: Path, trials: Sequence[TrialRecord], evals: Sequence[EvalRecord]
) -> Floats | None:
    """[resamples, trials]: scores on resampled dialogues; None where some evaluation left no
    counts behind, or was made on other dialogues."""
    counts = [read_counts(folder, t.id, e.name) for t, e in zip(trials, evals, strict=True)]
    found = [c for c, e in zip(counts, evals, strict=True) if c and c.turns_seen == e.turns_seen]
    if len(found) < len(trials) or len({c.ids for c in found}) != 1:
        return None
    drawn = [e.sign * draw_values(c, e.value) for c, e in zip(found, evals, strict=True)]
    return np.stack(drawn, axis=1)


def _assume(points: Sequence[PointResult]) -> Floats:
    """[trials, trials]: from each evaluation's own interval. How scores go together is not known:
    a point's seeds are taken to share their dialogues' luck whole, points not at all, which makes
    intervals rather too wide."""
    owners = np.repeat(range(len(points)), [len(p.trials) for p in points])
    intervals = [e.intervals.get(e.name, (0.0, 0.0)) for p in points for e in p.evals]
    errors = np.array([(high - low) / 3.92 for low, high in intervals])
    return np.asarray(np.outer(errors, errors) * (owners[:, None] == owners), dtype=np.float64)
