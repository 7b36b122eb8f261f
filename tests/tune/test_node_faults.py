"""A fault of a node is not its trial's: that goes elsewhere, and the node is left out after two."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path

import pytest
from inline import carry_out, make_config, open_search
from optuna.distributions import CategoricalDistribution

from analysis.records import read_sweep
from trainable.system.retries import StorageFault
from trainable.trial import Missing, TrialConfig, TrialFailed
from trainable.worker import entry, node
from trainable.worker.lease import NodeFault, Report
from trainable.worker.node import Unfit, find_fault
from trainable.worker.wire import EnginePlace
from tune.driver.conclusion import conclude
from tune.search.profiles import BASES
from tune.search.search import Search
from tune.workers.pool import Pool

TINY = TrialConfig(**{**BASES["tiny"], "warmup_turns": 0, "train_turns": 400})
NODES = ("bad", "good", "worse")


def run(
    search: Search, find: Callable[[str, TrialConfig], str | None], is_lack: bool = True
) -> list[tuple[str, str]]:
    """Each lease on the first node that is allowed; `find` has its fault. (trial, node)"""
    search.nodes.present, places = NODES, []
    while (lease := search.lease()) is not None:
        where = next(n for n in NODES if n not in lease.avoided)
        places.append((lease.trial, where))
        if reason := find(where, lease.config):
            fault = NodeFault(node=where, name=where, reason=reason, is_lack=is_lack)
            assert not search.report(Report(trial=lease.trial, fault=fault))
            continue
        for report in carry_out(lease):
            if not search.report(report):
                break
    search.finish()
    return places


def test_a_node_is_left_out_after_the_second_time_and_the_sweep_goes_on(tmp_path: Path) -> None:
    config, space = make_config(tmp_path, trials=4, asha="off", baseline=False)
    search, _ = open_search(config, space)
    places = run(search, lambda where, _: "it has no model" if where == "bad" else None)
    two = [("0000", "bad"), ("0000", "good"), ("0001", "bad"), ("0001", "good")]
    assert places == [*two, ("0002", "good"), ("0003", "good")]
    assert {t.state for t in search.trials.values()} == {"COMPLETE"}
    assert search.nodes.list_useless(t.config for t in search.searched) == {"bad"}
    assert search.nodes.list_useless([TINY]) == set()  # another base model may be there
    notes = (config.folder / "evals.jsonl").read_text()
    assert "trial 0000 starts again elsewhere: node bad is tried once more: it has no mod" in notes
    assert "trial 0001 starts again elsewhere: node bad is left out from now on: it has" in notes


@pytest.mark.parametrize("is_lack", [True, False])
def test_where_no_node_is_left_one_line_names_each_and_nothing_is_lost(
    is_lack: bool, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    config, space = make_config(tmp_path, trials=4, asha="off", baseline=False)
    search, _ = open_search(config, space)
    places = run(search, lambda where, _: f"{where} has no model", is_lack)
    assert {trial for trial, _ in places} == {"0000"} and len(places) == 2 * len(NODES)
    assert conclude(search) == 1
    reasons = "; ".join(f"{name}: {name} has no model" for name in NODES)
    assert f"no node is left: {reasons}: go on with " in capsys.readouterr().err
    again, _ = open_search(config, space)  # all is mended
    run(again, lambda where, _: None)
    assert read_sweep(config.folder).count_states() == {"COMPLETE": 4}


def test_a_base_model_that_no_node_has_fails_its_own_trials_alone(tmp_path: Path) -> None:
    config, space = make_config(tmp_path, trials=6, asha="off", baseline=False)
    fixed = {name: value for name, value in space.fixed.items() if name != "base_model"}
    bases = {"base_model": CategoricalDistribution(["toy", "toy:0"])}
    space = replace(space, fixed=fixed, searched={**space.searched, **bases}, first=())
    search, _ = open_search(config, space)
    run(search, lambda _, trial: "it has no toy:0" if trial.base_model == "toy:0" else None)
    states = {(t.config.base_model, t.state) for t in search.searched}
    assert states == {("toy", "COMPLETE"), ("toy:0", "FAIL")} and len(search.searched) == 6


def test_a_storage_that_one_node_does_not_see_is_that_node_s_fault(tmp_path: Path) -> None:
    config, space = make_config(tmp_path, trials=2, asha="off", baseline=False)
    search, _ = open_search(config, space)
    lease = search.lease()
    fault = NodeFault(node="bad", name="bad", reason="it does not see the sweep's folder")
    lost = Report(trial=lease.trial, lost="No such file or directory", fault=fault)
    assert not search.report(lost) and search.lease().avoided == ()  # there is no other
    (config.folder / "sweep.json").rename(tmp_path / "away")
    with pytest.raises(StorageFault, match="No such file"):
        search.report(lost)
    assert search.trials[lease.trial].state == "QUEUED"


@pytest.mark.parametrize(
    ("error", "reason", "is_lack"),
    [
        (Missing("no folder /models/7b"), "no folder /models/7b", True),
        (OSError(errno.ENOSPC, "No space left on device"), "its disk is full", False),
        (ImportError("no module torch"), "of another version (no module torch)", False),
        (RuntimeError("Found no NVIDIA driver on your system."), "its GPU cannot be", False),
        (RuntimeError("CUDA error: no kernel image is available"), "its GPU cannot be", False),
        (RuntimeError("CUDA error: device-side assert triggered"), None, False),
        (StorageFault(errno.ENOSPC, "No space left on device"), None, False),
        (TrialFailed("the loss is nan"), None, False),
    ],
)
def test_what_is_a_node_s_fault(
    error: Exception, reason: str | None, is_lack: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node, "find_here", lambda: "here")
    fault = find_fault(error)
    assert (fault is None) is (reason is None)
    assert fault is None or (reason in fault.reason and fault.is_lack is is_lack)
    assert fault is None or (fault.node == "here" and os.uname().nodename in fault.name)


@pytest.mark.usefixtures("local_ray")
def test_a_worker_tells_its_node_s_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, space = make_config(tmp_path, trials=1, baseline=False)
    search, _ = open_search(config, space)
    search.versions = {"torch": "1.13.1+cu117"}
    lease = search.lease()
    report = entry.DialogueTrial({"lease": lease}).step()["report"]
    assert report.failure is None and " in the place of 1.13.1: install the" in report.fault.reason
    report = entry.DialogueTrial(
        {"lease": replace(lease, versions={}, config=replace(TINY, base_model="/models/7b"))}
    ).step()["report"]
    assert report.failure is None and "'/models/7b' is no folder" in report.fault.reason


def test_an_engine_starts_elsewhere_where_its_node_is_at_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("ray.kill", lambda actor: None)
    pool = Pool(lambda config, avoided, slots: Engine(avoided), slots=2, capacity=lambda avoided: 1)
    with pytest.raises(Unfit) as caught:
        asyncio.run(pool.lease("0000", TINY))
    assert caught.value.fault.name == "bad" and not pool.handles
    slot = asyncio.run(pool.lease("0000", TINY, ("bad",)))
    assert (slot.key, slot.place.node, slot.number) == ("0000.2", "good", 0)
    slot = asyncio.run(pool.lease("0001", TINY))
    assert (slot.place.node, slot.number) == ("good", 1)


class Engine:
    """An actor on the first node that is not avoided."""

    def __init__(self, avoided: tuple[str, ...]) -> None:
        self.node = next(n for n in NODES if n not in avoided)
        self.find_place = self.__ray_ready__ = self

    def remote(self) -> Engine:
        return self

    def future(self) -> Future[EnginePlace]:
        done: Future[EnginePlace] = Future()
        if self.node == "bad":
            done.set_exception(Unfit(NodeFault(node="bad", name="bad", reason="no model")))
        else:
            done.set_result(EnginePlace(node=self.node, node_id=self.node, gpu=None, pid=1))
        return done
