"""How a sweep's time shrinks with its GPUs."""

from dataclasses import replace
from pathlib import Path

import pytest

from analysis.records import SweepRecords, read_sweep
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
                e, place=place, started_s=squeeze(e.started_s), time_s=squeeze(e.time_s), eval_s=0.0
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


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(EXAMPLE), str(EXAMPLE)]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert len(rows) == 4 and " 1.00 " in rows[3]
    assert main(["nowhere"]) == 2
