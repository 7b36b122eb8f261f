"""A trial's training step by step: bounded, even, and the same after a resume."""

import json
from statistics import mean
from typing import Any

import pytest

from trainable.training_curve import MOST_POINTS, TrainingCurve, TrainingPoint


def make_step(number: int, **changes: Any) -> TrainingPoint:
    values: dict[str, Any] = {"turns_seen": 8 * number, "steps": number, "loss_nats": 1 / number}
    values |= {"learning_rate": 1e-3, "gradient_norm": 2.0, "train_s": 0.5 * number}
    return TrainingPoint(**{**values, "tokens_seen": 100 * number, **changes})


def grow(curve: TrainingCurve, steps: range) -> TrainingCurve:
    for number in steps:
        curve.add(make_step(number))
    return curve


@pytest.mark.parametrize("n_steps", [1, MOST_POINTS, MOST_POINTS + 1, 5000])
def test_points_are_few_even_and_means(n_steps: int) -> None:
    curve = grow(TrainingCurve(), range(1, n_steps + 1))
    assert len(curve.points) <= MOST_POINTS and curve.points[-1].turns_seen == 8 * n_steps
    assert {p.n_steps for p in curve.points[:-1]} <= {curve.stride}
    first = 0
    for point in curve.points:
        losses = [1 / n for n in range(first + 1, point.steps + 1)]
        assert point.loss_nats == pytest.approx(mean(losses)) and point.n_steps == len(losses)
        first = point.steps
    assert len(curve.points) > MOST_POINTS // 2 or curve.stride == 1


def test_saved_anywhere_it_goes_on_as_if_nothing_had_happened() -> None:
    through = grow(TrainingCurve(), range(1, 1000))
    saved = json.dumps(grow(TrainingCurve(), range(1, 451)).to_dict(), allow_nan=False)
    resumed = grow(TrainingCurve.from_dict(json.loads(saved)), range(451, 1000))
    assert [p.steps for p in resumed.points] == [p.steps for p in through.points]
    losses = [[p.loss_nats for p in curve.points] for curve in (resumed, through)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert not TrainingCurve.from_dict({}).points  # a checkpoint of an earlier version


@pytest.mark.parametrize("field", ["loss_nats", "gradient_norm"])
def test_what_is_not_finite_is_left_out(field: str) -> None:
    curve = TrainingCurve()
    curve.add(make_step(1))
    curve.add(make_step(2, **{field: float("nan")}))
    assert [p.steps for p in curve.points] == [1]


@pytest.mark.parametrize("loss", ["NaN", '"low"', "null", "[1, 2]"])
def test_a_damaged_record_is_refused(loss: str) -> None:
    text = json.dumps(grow(TrainingCurve(), range(1, 2)).to_dict())
    damaged = json.loads(text.replace('"loss_nats": [1.0]', f'"loss_nats": [{loss}]'))
    with pytest.raises(ValueError, match="no number"):
        TrainingCurve.from_dict(damaged)
