"""How a sweep's time shrinks with its GPUs."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from analysis.records import SweepRecords, TrialRecord, read_sweep
from analysis.scaling import main, summarise

EXAMPLE = Path(__file__).parents[2] / "analysis" / "example" / "sweep"


def spread(sweep: SweepRecords, gpus: int) -> SweepRecords:
    """The same evaluations on so many GPUs, in as much less time."""

    def squeeze(time_s: float) -> float:
        return sweep.created_s + (time_s - sweep.created_s) / gpus

    trials = []
    for number, trial in enumerate(sweep.trials):
        place = {"node": "n", "gpu": number % gpus, "engine_pid": number % gpus}
        evals = (
            replace(
                e,
                place=place,
                started_s=squeeze(e.started_s),
                time_s=squeeze(e.time_s),
                eval_s=0.0,
            )
            for e in trial.evals
        )
        trials.append(replace(trial, evals=tuple(evals)))
    return replace(sweep, trials=tuple(trials))


def test_time_that_shrinks_as_gpus_grow_is_an_efficiency_of_one() -> None:
    one, two = (summarise(spread(read_sweep(EXAMPLE), gpus)) for gpus in (1, 2))
    assert two.efficiency(one) == pytest.approx(1.0)
    assert two.turns == one.turns > 0
    assert two.turns_a_gpu_s == pytest.approx(one.turns_a_gpu_s)
    assert two.trials_per_h == pytest.approx(2 * one.trials_per_h)
    assert (one.gpus, two.gpus) == (1, 2) and len(two.evals_a_gpu) == two.engines == 2
    assert sum(two.evals_a_gpu) == sum(one.evals_a_gpu)
    assert one.highest == two.highest and one.highest.endswith("one seed)")


def place_on(trial: TrialRecord, gpu: int, created_s: float, opening_s: float, end_s: float) -> Any:
    """The trial with one evaluation, of work that began 10 s after the sweep."""
    times = {"started_s": created_s + 10, "opening_s": opening_s, "time_s": created_s + end_s}
    place = {"node": "n", "gpu": gpu, "engine_pid": gpu}
    return replace(trial, evals=(replace(trial.evals[-1], place=place, **times),))


def test_start_up_and_the_slots_at_the_end() -> None:
    """Two GPUs train from 15 and 19 s on; one of them has nothing left after 30 of 40 s."""
    sweep = read_sweep(EXAMPLE)
    one, two = sweep.searched[:2]
    at_s = sweep.created_s
    trials = (place_on(one, 0, at_s, 5.0, 40.0), place_on(two, 1, at_s, 9.0, 30.0))
    run = summarise(replace(sweep, trials=trials))
    assert (run.start_s, run.tail_s) == (pytest.approx(17), pytest.approx(5))
    assert run.slots_busy == pytest.approx((30 + 20) / (2 * 40))
    assert run.slots_busy_last_quarter == pytest.approx(1 / 2)
    sooner = replace(run, start_s=0.0)
    assert run.efficiency(sooner) == 1
    assert run.efficiency_later(sooner) == pytest.approx(40 / (40 - 17))
    assert run.efficiency_later(replace(run, start_s=None)) is None


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(EXAMPLE), str(EXAMPLE)]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert len(rows) == 4 and " 1.00 " in rows[3]
    assert main(["nowhere"]) == 2
