"""How often sweeps whose truth is known are told wrongly, before and after seeds and the number of
comparisons counted: python tests/analysis/claims/measure.py [FOLDER]

Writes rates.md and calibration.svg into FOLDER (default: analysis/results/claims). Before: the
bootstrap over a choice's trials against the highest one's, uncorrected, and the percentile
interval over dialogues and seeds together, as in commit 8b2b524.
"""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
from simulated import simulate, with_lead

from analysis.claims.chance import find_chances, fit_posterior
from analysis.claims.contrasts import compare_with_highest
from analysis.claims.variance import Floats, Noise
from tune.search.confirm import count_fresh_seeds

RESULTS = Path(__file__).parents[3] / "analysis" / "results" / "claims"
SWEEPS, RESAMPLES = 2000, 400
LIMITS = (0.0, 0.05, 0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 0.95, 1.01)
# points, seeds, spread of the trues, standard deviation of a seed's own part
KINDS = (
    *((5, 2, 4.0, 2.0), (5, 3, 4.0, 1.0), (8, 3, 8.0, 4.0), (3, 5, 2.5, 3.0)),
    (6, 1, 1.5, 0.0),  # nothing trained
)


def beats_before(scores: Floats) -> tuple[Floats, Floats]:
    """[sweeps] each: whether the highest of [sweeps, points, seeds] beat another choice, and
    whether it beat all."""
    rng = np.random.default_rng(0)
    highest = np.argmax(scores.mean(axis=-1), axis=-1)
    chosen = rng.integers(scores.shape[-1], size=(RESAMPLES, scores.shape[-1]))
    other = rng.integers(scores.shape[-1], size=(RESAMPLES, scores.shape[-1]))
    own = scores[np.arange(len(scores)), highest]
    gaps = own[:, chosen].mean(axis=-1)[:, None] - scores[..., other].mean(axis=-1)
    is_other = np.arange(scores.shape[1]) != highest[:, None]
    beaten = (np.percentile(gaps, 2.5, axis=-1) > 0) & is_other
    return beaten.any(axis=-1), beaten.sum(axis=-1) == scores.shape[1] - 1


def covers_before(scores: Floats, true: float, dialogue_sd: float) -> float:
    """How often the percentile interval over resampled seeds and dialogues held the truth, of
    scores [sweeps, points, seeds]."""
    rng = np.random.default_rng(0)
    n_seeds = scores.shape[-1]
    chosen = rng.integers(n_seeds, size=(RESAMPLES, n_seeds))
    mean = scores.mean(axis=-1, keepdims=True)
    resampled = scores[..., chosen].mean(axis=-1) - mean
    moved = dialogue_sd * rng.standard_normal((*scores.shape[:-1], RESAMPLES))
    draws = mean + moved + resampled * (n_seeds / (n_seeds - 1)) ** 0.5
    low, high = np.percentile(draws, (2.5, 97.5), axis=-1)
    return float(((low <= true) & (true <= high)).mean())


def tabulate() -> str:
    """Markdown: rates by the number of choices and seeds."""
    names = ["choices", "seeds", "false claims before", "after"]
    names += ["lead of 10 named before", "after", "intervals cover before", "after"]
    lines = [names, ["---"] * len(names)]
    for points in (2, 5, 9):
        for n_seeds in (2, 3, 4, 5):
            lines.append([str(points), str(n_seeds), *measure(points, n_seeds)])
        lines.append([str(points), "as confirmed", *measure_confirmed(points)])
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def measure(points: int, n_seeds: int) -> list[str]:
    null, null_scores = make(points, n_seeds, 0.0)
    lead, lead_scores = make(points, n_seeds, 10.0)
    compared, led = compare_with_highest(null), compare_with_highest(lead)
    is_first = lead_scores.mean(axis=-1).argmax(axis=-1) == 0
    half = null.half_widths()
    return [
        percent(beats_before(null_scores)[0]),
        percent(compared.is_behind.any(axis=-1)),
        percent(beats_before(lead_scores)[1] & is_first),
        percent(led.has_best & (led.highest == 0)),
        f"{100 * covers_before(null_scores, 85.0, 1.7):.0f} %",
        percent(np.abs(null.means - 85.0) <= half),
    ]


def measure_confirmed(points: int) -> list[str]:
    """With the seeds that `--confirm` trains; the lead is the last point's, which has fewest."""
    n_seeds, rng = count_fresh_seeds(points), np.random.default_rng(points)
    null = simulate(rng, with_lead(SWEEPS, points, 0.0), n_seeds)[0]
    led = compare_with_highest(
        simulate(rng, with_lead(SWEEPS, points, 10.0, points - 1), n_seeds)[0]
    )
    return [
        "",
        percent(compare_with_highest(null).is_behind.any(axis=-1)),
        "",
        percent(led.has_best & (led.highest == points - 1)),
        "",
        percent(np.abs(null.means - 85.0) <= null.half_widths()),
    ]


def make(points: int, n_seeds: int, lead: float) -> tuple[Noise, Floats]:
    rng = np.random.default_rng(points * n_seeds + int(lead))
    return simulate(rng, with_lead(SWEEPS, points, lead), n_seeds)


def percent(happened: Floats) -> str:
    return f"{100 * np.mean(happened):.0f} %"


def calibrate() -> list[tuple[float, float, int]]:
    """(said, came true, how many), from 2,500 sweeps, one bin of probabilities after another."""
    rng = np.random.default_rng(0)
    said, came = [], []
    for points, n_seeds, spread, seed_sd in KINDS:
        trues = 85.0 + spread * rng.standard_normal((SWEEPS // 4, points))
        noise = simulate(rng, trues, n_seeds, seed_sd=seed_sd)[0]
        said.append(find_chances(fit_posterior(noise)).ravel())
        came.append((np.arange(points) == np.argmax(trues, axis=-1)[:, None]).ravel())
    chance, true = np.concatenate(said), np.concatenate(came)
    there = [(chance >= low) & (chance < high) for low, high in pairwise(LIMITS)]
    return [(float(chance[t].mean()), float(true[t].mean()), int(t.sum())) for t in there]


def draw_picture(bins: list[tuple[float, float, int]], path: Path) -> None:
    import matplotlib

    matplotlib.use("svg")
    from matplotlib import pyplot

    matplotlib.rcParams["svg.hashsalt"] = "claims"
    figure, axes = pyplot.subplots(figsize=(4.5, 4.2))
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=1)
    axes.fill_between([0, 1], [-0.05, 0.95], [0.05, 1.05], color="0.92")
    errors = [2 * (came * (1 - came) / n) ** 0.5 for _, came, n in bins]
    axes.errorbar([b[0] for b in bins], [b[1] for b in bins], errors, fmt="o", color="#0b65a8")
    axes.set(
        xlim=(0, 1), ylim=(0, 1), xlabel="P(best), as said", ylabel="how often it was the best"
    )
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else RESULTS
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rates.md").write_text(tabulate())
    draw_picture(calibrate(), folder / "calibration.svg")
    print((folder / "rates.md").read_text())
