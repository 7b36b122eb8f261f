"""The overhead's benchmark on a handful of trials: both sides do the same work."""

import pytest

from tune.bench.overhead import main


@pytest.mark.nightly
def test_both_sides_run_the_same_trials(capfd: pytest.CaptureFixture) -> None:
    assert main(["--trials", "6", "--concurrent", "2"]) == 0
    out, _ = capfd.readouterr()
    ours, rays = (line.split(" | ") for line in out.splitlines()[-2:])
    assert "tune.run" in ours[0] and "OptunaSearch" in rays[0]
    for cells in (ours, rays):
        trials_per_s, results_per_s, results_a_trial = map(float, cells[1:4])
        assert 1 <= results_a_trial <= 3
        assert results_per_s == pytest.approx(trials_per_s * results_a_trial, rel=0.2, abs=0.2)
