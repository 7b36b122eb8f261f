"""Trials that wait at a rung keep what --parked-gib allows; the race stays what it was."""

from pathlib import Path
from typing import Any

import pytest
from drivers import Sweep
from inline import make_config
from test_resume import outlive
from test_search import summarise

from analysis.records import SweepRecords, read_sweep
from analysis.training import read_training
from tune.folder.disk import GIB, measure_bytes
from tune.search.table import TrialTable

RACE: dict[str, Any] = {
    "race": {"asha": "promote", "idle": "promote", "eta": 2.25, "rungs_turns": (200, 400, 800)},
    "trials": 14,
}
FEW_BYTES = 3 * 23_500  # three checkpoints of the toy, scored on 50 dialogues


def run(storage: Path, name: str, n_bytes: float, every: int = 0) -> tuple[SweepRecords, int]:
    """A sweep, four trials at a time, killed after so many events again and again; the kills."""
    config, space = make_config(storage, name=name, concurrent=4, parked_gib=n_bytes / GIB, **RACE)
    kills = outlive(config, space, every)
    return read_sweep(config.folder), kills


def list_again(records: SweepRecords) -> list[str]:
    lines = (records.folder / "evals.jsonl").read_text().splitlines()
    return [line for line in lines if "trains again from its beginning" in line]


def test_the_race_is_the_same_whatever_those_who_wait_may_keep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    park, kept_bytes = TrialTable.park, []

    def watch(table: TrialTable) -> None:
        park(table)
        waiting = [t.id for t in table.trials.values() if t.state == "WAITING"]
        places = [table.recorder.folder / "checkpoints" / trial for trial in waiting]
        kept_bytes.append(sum(map(measure_bytes, places)))

    monkeypatch.setattr(TrialTable, "park", watch)
    names = {"whole": GIB, "few": FEW_BYTES, "none": 0}
    sweeps = {}
    for name, n_bytes in names.items():
        sweeps[name], _ = run(tmp_path, name, n_bytes)
        assert n_bytes / 2 <= max(kept_bytes) <= n_bytes or name == "whole"
        kept_bytes.clear()
    assert summarise(sweeps["few"]) == summarise(sweeps["none"]) == summarise(sweeps["whole"])
    again = {name: len(list_again(records)) for name, records in sweeps.items()}
    assert again["whole"] == 0 < again["few"] < again["none"]
    for trial in sweeps["whole"].searched:
        curves = [read_training(tmp_path / name, trial.id) for name in names]
        assert curves[0] == curves[1] == curves[2], trial.id


@pytest.mark.parametrize("every", [5, 17])
def test_killed_again_and_again_it_is_still_the_same(tmp_path: Path, every: int) -> None:
    whole, _ = run(tmp_path, "whole", GIB, every)
    bounded, kills = run(tmp_path, "bounded", FEW_BYTES, every)
    assert kills > 2 and list_again(bounded)
    assert summarise(bounded) == summarise(whole)


@pytest.mark.slow
def test_the_embedded_model_trains_again_to_where_it_was(tmp_path: Path) -> None:
    """With Ray, killed on the way; losses compare to the last digit."""
    race = ("--trials", "6", "--train-turns", "200", "--rungs", "50,100", "--rung-metric", "loss")
    flags = (*race, "--eval-dialogues", "4,4,4", "--asha", "promote", "--idle", "promote")
    flags = (*flags, "--eta", "2", "--concurrent", "1", "--no-baseline")
    whole = Sweep(tmp_path / "whole", flags).run()
    bounded = Sweep(tmp_path / "bounded", (*flags, "--parked-gib", "0"))
    driver = bounded.start()
    bounded.await_evals(5)
    driver.kill()
    driver.wait()
    bounded.run()
    losses = [
        [
            (t.id, t.state, [(e.turns_seen, e.nats_per_word) for e in t.evals])
            for t in sweep.records.searched
        ]
        for sweep in (whole, bounded)
    ]
    assert losses[0] == losses[1]
    assert len(list_again(bounded.records)) > 2 and not list_again(whole.records)
