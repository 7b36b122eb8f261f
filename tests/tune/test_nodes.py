"""Three real Ray nodes on this machine: one is lost while a sweep runs, one comes."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from drivers import Sweep, compute_undisturbed, trace
from nodes import find_workers, open_nodes
from test_search import summarise

from tune.workers.watchdog import HEAD_TIMEOUT_VARIABLE

WORKER, ENGINE = ("ray::Resource", "ray::Dialogue"), ("ray::Engine",)  # as Ray names the processes


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[Any]:
    """Their head carries no trial."""
    (tmp_path / "sweep").mkdir()
    with open_nodes(trace(tmp_path / "sweep")) as nodes:
        yield nodes


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pack", "worker", "offer"),
    [
        pytest.param("1", WORKER, {"num_cpus": 1}, marks=pytest.mark.nightly),
        ("2", ENGINE, {"num_cpus": 1, "num_gpus": 1}),
    ],
)
def test_a_node_lost_and_a_node_added(
    tmp_path: Path, nodes: Any, pack: str, worker: tuple[str, ...], offer: dict[str, int]
) -> None:
    flags = ("--set", "base_model=toy:0.004", "--trials", "6", "--pack", pack, "--asha", "off")
    raylets = [nodes.add(offer) for _ in range(2)]
    sweep = Sweep(tmp_path / "sweep", flags, {"RAY_ADDRESS": nodes.address})
    driver = sweep.start()
    sweep.await_evals(3)
    lost = next(raylet for raylet in raylets if find_workers(raylet, worker))
    lost_s = time.time()
    nodes.remove(lost)
    added = nodes.add(offer)
    was_used = False
    while driver.poll() is None:
        was_used = was_used or bool(find_workers(added, worker))
        time.sleep(0.1)
    assert driver.returncode == 0, sweep.console
    assert was_used, "no trial ran on the added node"
    undisturbed = compute_undisturbed(tmp_path, "toy:0.004", trials=6, asha="off")
    assert summarise(sweep.records) == summarise(undisturbed)
    assert 0 <= sweep.count_repeated() <= report_restarts(sweep, lost_s)


def report_restarts(sweep: Sweep, lost_s: float) -> int:
    """How many there were; prints how long they took."""
    events = [json.loads(line) for line in (sweep.folder / "evals.jsonl").open()]
    noted = [e for e in events if e["event"] == "note" and "starts again" in e["text"]]
    for note in noted:
        trial = note["text"].split()[1]
        evals = [e for e in events if e["event"] == "eval" and e["trial"] == trial]
        again = next(e for e in evals if e["time_s"] > note["time_s"])
        print(
            f"trial {trial}: its loss noticed after {note['time_s'] - lost_s:.1f} s, "
            f"at work again after {again['started_s'] - lost_s:.1f} s"
        )
    return len(noted)


@pytest.mark.nightly
def test_a_dead_head_pauses_the_sweep_and_another_cluster_goes_on(
    tmp_path: Path, nodes: Any
) -> None:
    flags = ("--set", "base_model=toy:0.002", "--trials", "3", "--concurrent", "1")
    nodes.add({"num_cpus": 1})
    sweep = Sweep(
        tmp_path / "sweep", flags, {"RAY_ADDRESS": nodes.address, HEAD_TIMEOUT_VARIABLE: "5"}
    )
    driver = sweep.start()
    sweep.await_evals(3)
    nodes.kill_head()
    assert driver.wait(timeout=60) == 1
    assert (
        "the head at" in sweep.console
        and "paused; go on with python -m tune.run --resume s" in sweep.console
    )
    assert sweep.console.count("Traceback") == 0
    with open_nodes(trace(tmp_path / "sweep"), head_cpus=1) as others:
        sweep.environment["RAY_ADDRESS"] = others.address
        sweep.run()
    undisturbed = compute_undisturbed(tmp_path, "toy:0.002", trials=3)
    assert summarise(sweep.records) == summarise(undisturbed)


@pytest.mark.nightly
def test_one_node_without_the_base_model_fails_no_trial(tmp_path: Path, nodes: Any) -> None:
    nodes.add({"num_cpus": 1}, {"TOY_MISSING": "1"})
    nodes.add({"num_cpus": 1})
    flags = ("--set", "base_model=toy:0.001", "--trials", "6", "--asha", "off", "--no-baseline")
    sweep = Sweep(tmp_path / "sweep", flags, {"RAY_ADDRESS": nodes.address}).run()
    assert sweep.records.count_states() == {"COMPLETE": 6}
    notes = [line for line in sweep.console.splitlines() if "starts again elsewhere" in line]
    assert "is tried once more: this node has no toy" in notes[0], sweep.console
    assert "is left out from now on: this node has no toy" in notes[1] and len(notes) == 2


@pytest.mark.nightly
def test_a_head_that_is_started_anew_pauses_the_sweep_in_one_line(
    tmp_path: Path, nodes: Any
) -> None:
    flags = ("--set", "base_model=toy:0.002", "--trials", "3", "--concurrent", "1")
    nodes.add({"num_cpus": 1})
    sweep = Sweep(tmp_path / "sweep", flags, {"RAY_ADDRESS": nodes.address})
    driver = sweep.start()
    sweep.await_evals(3)
    n_before = len(sweep.console.splitlines())
    nodes.kill_head()
    nodes.start_head_anew()
    assert driver.wait(timeout=60) == 1
    last = [line for line in sweep.console.splitlines()[n_before:] if line]
    assert (
        last[-1].startswith("Ray is lost (its head was started anew") and "--resume s" in last[-1]
    )
    assert "Traceback" not in sweep.console
