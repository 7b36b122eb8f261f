"""The rung tables against Ray's and against the paper's definition."""

import random

import numpy as np
import pytest

from tune.search.rungs import HalvingRungs, PromoteRungs, StopRungs, find_quantile


@pytest.mark.parametrize("seed", range(5))
def test_stopping_decides_as_ray_s_asha(seed: int) -> None:
    from ray.tune.schedulers.async_hyperband import _Bracket

    class Named:
        def __init__(self, trial_id: str) -> None:
            self.trial_id = trial_id

    draw = random.Random(seed)
    rungs, bracket = StopRungs([10, 30, 90], 3), _Bracket(10, 100, 3, 0)
    live = [Named(str(i)) for i in range(30)]
    for turns in (10, 30, 90):
        draw.shuffle(live)
        kept = []
        for trial in live:
            value = draw.random()
            goes_on = rungs.report(trial.trial_id, turns, value)
            assert goes_on == (bracket.on_result(trial, turns, value) == "CONTINUE")
            kept += [trial] if goes_on else []
        live = kept
    assert 0 < len(live) < 10


def test_a_trial_at_the_quantile_goes_on() -> None:
    """Of 1 to 4, with eta 3, the quantile is 3."""
    for value, goes_on in ((3.0, True), (2.999, False)):
        rungs = StopRungs([10], 3)
        for name, known in zip("abcd", (1.0, 2.0, 3.0, 4.0), strict=True):
            rungs.report(name, 10, known)
        assert rungs.report("e", 10, value) is goes_on
    equals = StopRungs([10], 3)
    assert all(equals.report(name, 10, 1.0) for name in "abcdef")


def test_a_quantile_is_numpy_s_to_the_last_bit() -> None:
    draw = random.Random(0)
    for _ in range(300):
        values = sorted(draw.uniform(-5, 200) for _ in range(draw.randrange(1, 40)))
        share = 1 - 1 / draw.choice((2, 2.5, 3, 4, 7))
        assert find_quantile(values, share) == np.percentile(values, share * 100)


def test_a_repeated_report_changes_nothing() -> None:
    rungs = StopRungs([10], 3)
    assert rungs.report("a", 10, 1.0)
    assert not rungs.report("b", 10, 0.5)
    assert rungs.report("a", 10, 0.0) and rungs.values == {10: {"a": 1.0, "b": 0.5}}


def test_promotion_takes_the_best_third_highest_rung_first() -> None:
    rungs = PromoteRungs([10, 30], 3)
    for name, value in zip("abcdef", (1, 2, 3, 4, 5, 6), strict=True):
        assert not rungs.report(name, 10, value)
    assert [rungs.promote(), rungs.promote(), rungs.promote()] == ["f", "e", None]
    for name, value in (("f", 1), ("e", 2)):
        assert not rungs.report(name, 30, value)
    assert rungs.promote() is None
    for name in "ghi":
        rungs.report(name, 10, 9)
    assert rungs.promote() == "g"
    rungs.report("g", 30, 3)
    assert rungs.promote() == "g"  # from 30, before h from 10
    assert rungs.promote() == "h"


def test_a_dropped_trial_is_not_promoted_but_still_counts() -> None:
    rungs = PromoteRungs([10], 2)
    for name, value in zip("abcd", (4, 3, 2, 1), strict=True):
        rungs.report(name, 10, value)
    rungs.drop("a")
    assert [rungs.promote(), rungs.promote()] == ["b", None]


def test_at_the_last_call_the_best_goes_on_once() -> None:
    rungs = PromoteRungs([10, 30], 3)
    rungs.report("a", 10, 1)
    rungs.report("b", 10, 2)
    assert rungs.promote() is None
    assert rungs.promote_last() == "b"
    rungs.report("b", 30, 1)
    assert rungs.promote_last() == "b"
    assert rungs.promote_last() is None


def test_at_the_last_call_the_fraction_is_rounded_up() -> None:
    rungs = PromoteRungs([10, 30], 3)
    for name, value in zip("abcd", (4, 3, 2, 1), strict=True):
        rungs.report(name, 10, value)
    assert [rungs.promote(), rungs.promote()] == ["a", None]  # floor(4/3)
    rungs.report("a", 30, 5)
    assert [rungs.promote_last(), rungs.promote_last()] == ["a", "b"]  # ceil(1/3), ceil(4/3)
    rungs.report("b", 30, 6)
    assert [rungs.promote_last(), rungs.promote_last()] == ["b", None]


def test_who_stands_lowest_among_those_at_its_rung_is_the_least_likely_to_be_promoted() -> None:
    rungs = PromoteRungs([10, 30], 2)
    for name, value in zip("abcdef", (6, 5, 4, 3, 2, 1), strict=True):
        rungs.report(name, 10, value)
    assert [rungs.promote() for _ in range(3)] == ["a", "b", "c"]
    for name, value in (("a", 1), ("b", 2)):
        rungs.report(name, 30, value)
    # f is the last of six, e of them the fifth, a the last of two, d the fourth of six
    assert rungs.rank_waiting() == ["f", "e", "a", "d", "b"]
    assert rungs.promote() == "b" and rungs.rank_waiting() == ["f", "e", "a", "d"]
    assert StopRungs([10], 2).rank_waiting() == []


def test_halving_promotes_few_while_points_are_to_come_and_all_that_are_due_when_none_is() -> None:
    """Of seven, four go on from the first rung, and two of them from the second."""
    rungs = HalvingRungs([10, 30], 2)
    for name, value in zip("abcde", (5, 4, 3, 2, 1), strict=True):
        rungs.report(name, 10, value)
    assert [rungs.promote(), rungs.promote()] == ["a", None]  # floor(5/4)
    rungs.report("a", 30, 1)
    assert [rungs.promote_idle(7), rungs.promote_idle(7)] == ["b", None]  # floor(5/2)
    rungs.report("f", 10, 4.5)
    assert rungs.promote() is None  # floor(6/4): a alone
    rungs.report("g", 10, 0)
    assert [rungs.promote_idle(7) for _ in range(3)] == ["f", "c", None]  # ceil(7/2) in all
    for name, value in (("b", 2), ("f", 3)):
        rungs.report(name, 30, value)
    assert [rungs.promote_idle(7), rungs.promote_idle(7)] == ["f", None]  # c is still to come
    rungs.report("c", 30, 4)
    assert [rungs.promote_idle(7), rungs.promote_idle(7)] == ["c", None]
