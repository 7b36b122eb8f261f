"""How many trials share an engine, and why."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import ray
import torch

from trainable.engine.best_slots import find_best_slots
from trainable.engine.engine import Engine
from trainable.engine.pack import Pack
from trainable.finetuner import BestSlots
from trainable.model.base import BaseSpec, load_base
from trainable.trial import CannotPack, TrialConfig, TrialFailed
from trainable.worker.lease import NodeFault
from trainable.worker.node import Unfit
from trainable.worker.wire import EnginePlace
from tune.search.profiles import BASES
from tune.workers.packing import choose_slots, measure
from tune.workers.pool import Pool, base_of
from tune.workers.pool_actor import close_pool, start_pool
from tune.workers.ray_tune import keep_idle, keep_starting, keep_variables
from tune.workers.shares import Node

TINY = TrialConfig(**{**BASES["tiny"], "warmup_turns": 0, "train_turns": 400})
KNEE = BestSlots(slots=8, tokens_per_s={4: 100.0, 8: 180.0, 16: 190.0}, fitting=12)


@pytest.mark.parametrize(
    ("pack", "on_gpus", "slots"),
    [("auto", True, None), ("auto", False, 0), ("3", True, 3), ("3", False, 3), ("1", True, 0)],
)
def test_an_engine_is_measured_where_there_is_a_gpu_and_nobody_asks_for_a_number(
    pack: str, on_gpus: bool, slots: int | None
) -> None:
    assert choose_slots(pack, [TINY], on_gpus=on_gpus)[0] == slots


def test_what_cannot_be_packed_runs_alone_and_says_so() -> None:
    fields = {n: v for n, v in BASES["tiny"].items() if not n.startswith(("lora", "alpha", "rs"))}
    full = TrialConfig(**{**fields, "method": "full", "warmup_turns": 0, "train_turns": 400})
    slots, why = choose_slots("8", [TINY, full], on_gpus=True)
    assert slots == 0 and "method=full" in why


def test_the_choice_says_what_was_measured() -> None:
    why = "measured tokens/s by slots 4: 100, 8: 180, 16: 190; memory for 12"
    assert KNEE.describe() == why


class Measured:
    """An engine's actor whose answer to where it is comes at once."""

    def __init__(self, place: EnginePlace | Exception) -> None:
        self.place = place
        self.find_place = self.__ray_ready__ = self

    def remote(self) -> Measured:
        return self

    def future(self) -> Future[EnginePlace]:
        done: Future[EnginePlace] = Future()
        if isinstance(self.place, Exception):
            done.set_exception(self.place)
        else:
            done.set_result(self.place)
        return done


def test_the_first_engine_s_number_is_the_pool_s(monkeypatch: pytest.MonkeyPatch) -> None:
    """A node at fault is left out; another engine that has found fewer slots holds fewer."""
    monkeypatch.setattr("ray.kill", lambda actor: None)
    nodes = [Node(cpus=1, gpus=1, id="good")]
    monkeypatch.setattr("tune.workers.pool.read_nodes", lambda: nodes)
    bad = Unfit(NodeFault(node="bad", name="bad", reason="no model"))
    place = EnginePlace(node="good", node_id="good", gpu=0, pid=1, measured=KNEE)
    few = replace(place, measured=replace(KNEE, slots=1))
    answers = iter([bad, place, few])
    started: list[int | None] = []

    def start(config: TrialConfig, avoided: object, slots: int | None) -> Measured:
        started.append(slots)
        return Measured(next(answers))

    async def walk() -> tuple[BestSlots, int]:
        pool = Pool(start, slots=None, capacity=lambda avoided: 2)
        best = await pool.measure(TINY)
        await pool.open([TINY], 64)
        for handle in pool.handles:
            handle.place = await pool._find_place(handle, ())
            handle.slots["0000.1"] = 0
        return best, sum(handle.has_room(8) for handle in pool.handles)

    best, with_room = asyncio.run(walk())
    assert best == KNEE and started == [None, None, 8] and with_room == 1


@pytest.mark.parametrize("error", [CannotPack("no packed attention"), TrialFailed("no memory")])
def test_why_no_engine_can_be_measured_comes_back_as_itself(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ray.kill", lambda actor: None)
    pool = Pool(lambda *asked: Measured(error), slots=None, capacity=lambda avoided: 1)
    with pytest.raises(type(error), match=str(error)):
        asyncio.run(pool.measure(TINY))
    assert not pool.handles


def test_a_real_engine_measures_itself_and_serves_on_the_model_it_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its trials are those of an engine that was asked for that number."""
    monkeypatch.setattr("trainable.engine.best_slots.EACH_S", 0.05)
    spec = BaseSpec.of(TINY, device="cpu")
    measured, asked = (Engine(spec, slots=slots, max_rank=16) for slots in (TINY, 2))
    best = measured.measured
    assert best is not None and best.slots in best.tokens_per_s and best.slots <= best.fitting
    assert measured.pack.bank.slots == best.slots and not measured.pack.slots
    made = []
    for engine in (measured, asked):
        engine.join("0.1", TINY, None)
        engine.train_until("0.1", 50)
        made.append(engine.pack.copy_state("0.1").adapter)
        engine.close()
    assert asked.measured is None
    for name, value in made[0].items():
        torch.testing.assert_close(value, made[1][name])


def test_slots_whose_steps_do_not_fit_are_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two fit, four do not; where not even one does, that is said. Half of the time ends it."""
    fitting = 2

    def measure(pack: Pack, budget_s: float) -> SimpleNamespace:
        if len(pack.slots) > fitting:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return SimpleNamespace(tokens_per_s=100.0 * len(pack.slots))

    monkeypatch.setattr("trainable.engine.throughput.measure_training", measure)
    pack = Pack(load_base(BaseSpec.of(TINY, device="cpu")), None, 16)
    assert find_best_slots(pack, TINY).slots == 2
    pack.shrink(8)
    fitting = 0
    with pytest.raises(torch.OutOfMemoryError):
        find_best_slots(pack, TINY)
    fitting = 8
    monkeypatch.setattr("trainable.engine.best_slots.MOST_S", 0.0)
    pack.shrink(8)
    assert [*find_best_slots(pack, TINY).tokens_per_s] == [1]


@pytest.mark.parametrize(
    ("rates", "chosen"),
    [
        ({1: 9161, 2: 12507, 4: 14609, 8: 14285}, 4),
        ({1: 148866, 2: 168976, 4: 191802, 8: 195691}, 4),  # no doubling brings 14 % or more
        ({1: 97899, 2: 99384, 4: 140000, 8: 141000}, 4),  # a disturbed measurement ends nothing
        ({1: 97899, 2: 99384, 4: 99000}, 1),
        ({1: 338226, 2: 527184, 4: 821708, 8: 992942, 16: 1130978, 32: 1148611}, 16),
    ],
)
def test_the_fewest_slots_that_read_about_as_fast_as_any(
    rates: dict[int, float], chosen: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of rates such as GPUs had."""

    def measure(pack: Pack, budget_s: float) -> SimpleNamespace:
        return SimpleNamespace(tokens_per_s=rates[len(pack.slots)])

    monkeypatch.setattr("trainable.engine.throughput.measure_training", measure)
    pack = Pack(load_base(BaseSpec.of(TINY, device="cpu")), None, 16)
    best = find_best_slots(pack, TINY)
    assert best.slots == chosen and best.tokens_per_s == rates


def test_engines_start_before_anyone_asks_for_the_bases_in_turn() -> None:
    started: list[str] = []

    def start(config: TrialConfig, avoided: object, slots: int | None) -> object:
        started.append(config.quantisation)
        return object()

    configs = [replace(TINY, quantisation=q) for q in ("nf4", "fp4")]
    engines = Pool(start, slots=8, capacity=lambda avoided: 3)
    asyncio.run(engines.open(configs, 64))
    assert started == ["nf4", "fp4", "nf4"]
    assert [handle.base for handle in engines.handles] == [base_of(configs[n]) for n in (0, 1, 0)]
    few = Pool(start, slots=8, capacity=lambda avoided: 3)
    asyncio.run(few.open(configs, 1))  # --concurrent 1
    assert len(few.handles) == 1


@pytest.mark.nightly
@pytest.mark.usefixtures("local_ray")
def test_a_pool_s_engine_is_built_once_and_tells_what_it_is_at() -> None:
    said: list[str] = []
    pool = start_pool("measured", slots=None, max_rank=16, on_gpus=False, bases=1)
    pool.open.remote([TINY], 1)
    slots, why = measure(pool, TINY, said.append)
    assert why.startswith("measured tokens/s by slots 1: ") and slots >= 1
    assert any("loading the base model" in line for line in said)
    place, _ = ray.get([pool.measure.remote(TINY), pool.open.remote([TINY], 1)])
    taken = ray.get(pool.lease.remote("0000", TINY))
    assert taken.place.pid == ray.get(taken.actor.find_place.remote()).pid
    assert place.slots == slots
    close_pool(pool)


@pytest.mark.parametrize("is_own", [True, False])
def test_workers_of_a_ray_of_our_own_are_handed_no_variables(
    is_own: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such a worker is one of those that Ray has ready, and imports it once."""
    from ray.tune.execution import class_cache

    def list_handed() -> set[str]:
        worker = class_cache._ActorClassCache().get(type("Worker", (), {}))
        return {*worker._default_options["runtime_env"].get("env_vars", {})}

    for name in ("AWS_SESSION_TOKEN", "RAY_CHDIR_TO_TRIAL_DIR"):
        monkeypatch.setenv(name, "1")
    before = list_handed()
    with keep_variables(is_own):
        assert list_handed() == (set() if is_own else before - {"AWS_SESSION_TOKEN"})
    assert list_handed() == before > {"AWS_SESSION_TOKEN", "RAY_CHDIR_TO_TRIAL_DIR"}


def test_workers_without_a_trial_are_kept_until_one_of_another_kind_is_wanted() -> None:
    from ray.tune.utils.object_cache import _ObjectCache

    with keep_idle():
        cache = _ObjectCache()
        assert cache.cache_object("cpu", "first") and cache.cache_object("cpu", "second")
        assert not list(cache.flush_cached_objects())
        cache.increase_max("cpu")  # a trial is to come
        assert cache.pop_cached_object("cpu") == "first" and not list(cache.flush_cached_objects())
        cache.decrease_max("cpu")
        assert cache.cache_object("cpu", "first")
        cache.increase_max("another node's")
        assert list(cache.flush_cached_objects()) == ["second", "first"]
        assert cache.num_cached_objects == 0
    cache = _ObjectCache()
    assert cache.cache_object("cpu", "first") and not cache.cache_object("cpu", "second")


def test_a_worker_that_is_starting_is_kept_while_another_trial_has_none() -> None:
    """Ray Tune would throw it away for the worker of a trial that has ended."""
    from ray.tune.execution.tune_controller import TuneController

    controller: Any = SimpleNamespace(
        _trial_to_actor={"starting": "its actor"},
        _pending_trials={"starting", "new"},
        _resetting_trials={"starting", "new"},  # of which Ray Tune says that they have a worker
    )
    with keep_starting():
        reuse: Any = TuneController._maybe_reuse_cached_actor
        assert not reuse(controller, "starting")
        assert reuse(controller, "new")
        controller._pending_trials = {"starting"}
        assert reuse(controller, "starting")
