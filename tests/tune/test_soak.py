"""Processes that die at random lose nothing: one short round always, the others by `make soak`."""

from pathlib import Path

import pytest
from soak import Round, plan_round


@pytest.mark.slow
@pytest.mark.nightly  # never seen to end on a busy machine
@pytest.mark.timeout(900)
def test_a_sweep_whose_processes_die_is_the_undisturbed_one(tmp_path: Path) -> None:
    done = Round(storage=tmp_path, seed=0, asha="promote", pack=2, trials=5).run(6)
    assert done.deaths.total() > 0


@pytest.mark.nightly
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("number", range(16))
def test_every_kind_of_sweep_survives_every_kind_of_death(tmp_path: Path, number: int) -> None:
    done = plan_round(tmp_path, number, "toy:0.005").run(20)
    assert done.deaths.total() > 0
