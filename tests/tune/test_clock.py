"""A machine's clock that jumps, while trials run or between drivers, changes no duration and no
order."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from inline import Killed, make_config, open_search, run_inline
from test_resume import KillAfter, finish
from test_search import summarise

from analysis.records import read_sweep
from tune.search.budget import Budget

HOURS_S = 3 * 3600.0


class Jump:
    """Sets the machine's clock after the n-th event."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, by_s: float, after: int) -> None:
        self.monkeypatch, self.by_s, self.left = monkeypatch, by_s, after

    def on_event(self, event: object) -> None:
        self.left -= 1
        if self.left == 0:
            true_s = time.time
            self.monkeypatch.setattr(time, "time", lambda: true_s() + self.by_s)


@pytest.mark.parametrize("by_s", [HOURS_S, -HOURS_S])
def test_a_jump_while_trials_run_is_no_time_spent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_s: float
) -> None:
    config, space = make_config(tmp_path, trials=5)
    search, _ = open_search(config, space, (Jump(monkeypatch, by_s, 9),))
    budget = Budget(search)
    search.recorder.listeners.append(budget)
    run_inline(search)
    evals = [e for t in read_sweep(config.folder).trials for e in t.evals]
    assert all(0 <= e.time_s - e.started_s < 60 for e in evals)
    assert 0 <= budget.hours < 60 / 3600


@pytest.mark.parametrize("asha", ["stop", "promote"])
@pytest.mark.parametrize("by_s", [HOURS_S, -HOURS_S])
def test_a_jump_between_drivers_changes_no_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_s: float, asha: str
) -> None:
    from tune.folder import recorder

    reference = finish(*make_config(tmp_path, name="whole", asha=asha, trials=8))
    config, space = make_config(tmp_path, name="killed", asha=asha, trials=8)
    for _ in range(3):
        with pytest.raises(Killed):
            run_inline(open_search(config, space, (KillAfter(9),))[0])
        true_s = recorder.now_s
        monkeypatch.setattr(recorder, "now_s", lambda true_s=true_s: true_s() + by_s)
    run_inline(open_search(config, space)[0])
    assert summarise(read_sweep(config.folder)) == reference
