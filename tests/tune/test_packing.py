"""How many trials share an engine, and why."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from trainable.engine.pack import Pack
from trainable.model.base import BaseSpec
from trainable.trial import TrialConfig, TrialFailed
from tune.search.profiles import BASES
from tune.workers.best_slots import BestSlots, find_best_slots
from tune.workers.packing import choose_slots
from tune.workers.pool import Pool, base_of

TINY = TrialConfig(**{**BASES["tiny"], "warmup_turns": 0, "train_turns": 400})
KNEE = BestSlots(slots=8, tokens_per_s={4: 100.0, 8: 180.0, 16: 190.0}, fitting=12)


def choose(pack: str, config: TrialConfig, *, on_gpus: bool = True, bases: int = 1) -> int:
    return choose_slots(pack, [config], on_gpus=on_gpus, bases=bases, measure=lambda config: KNEE)[
        0
    ]


def test_auto_takes_the_best_as_far_as_the_memory_goes() -> None:
    assert choose("auto", TINY) == 8
    assert choose("auto", TINY, bases=2) == 6  # two engines share the GPU's memory
    assert choose("auto", TINY, bases=20) == 1
    assert choose("auto", TINY, on_gpus=False) == 1
    assert choose("3", TINY) == 3


def test_what_cannot_be_packed_runs_alone_and_says_so() -> None:
    fields = {n: v for n, v in BASES["tiny"].items() if not n.startswith(("lora", "alpha", "rs"))}
    full = TrialConfig(**{**fields, "method": "full", "warmup_turns": 0, "train_turns": 400})
    slots, why = choose_slots("8", [TINY, full], on_gpus=True, bases=1, measure=pytest.fail)
    assert slots == 1 and "method=full" in why


def test_where_not_one_trial_fits_an_engine_they_run_alone_and_fail_by_themselves() -> None:
    def measure(config: TrialConfig) -> BestSlots:
        raise TrialFailed("out of memory at 1.0 GiB: CUDA out of memory")

    slots, why = choose_slots("auto", [TINY], on_gpus=True, bases=1, measure=measure)
    assert slots == 1 and why.startswith("not one trial fits an engine here: out of memory")


def test_the_choice_says_what_was_measured() -> None:
    why = choose_slots("auto", [TINY], on_gpus=True, bases=1, measure=lambda config: KNEE)[1]
    assert why == "measured tokens/s by slots 4: 100, 8: 180, 16: 190; memory for 12"


def test_a_real_engine_is_measured() -> None:
    best = find_best_slots(BaseSpec.of(TINY), TINY, max_rank=16, budget_s=0.05)
    assert best.slots in best.tokens_per_s and best.slots <= best.fitting
    assert all(rate > 0 for rate in best.tokens_per_s.values())


def test_slots_whose_steps_do_not_fit_are_not_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two fit, four do not; where not even one does, that is said."""
    fitting = 2

    def measure(pack: Pack, budget_s: float) -> SimpleNamespace:
        if len(pack.slots) > fitting:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return SimpleNamespace(tokens_per_s=100.0 * len(pack.slots))

    monkeypatch.setattr("tune.workers.best_slots.measure_training", measure)
    assert find_best_slots(BaseSpec.of(TINY), TINY, max_rank=16).slots == 2
    fitting = 0
    with pytest.raises(torch.OutOfMemoryError):
        find_best_slots(BaseSpec.of(TINY), TINY, max_rank=16)


def test_engines_start_before_anyone_asks_for_the_bases_in_turn() -> None:
    started: list[str] = []

    def start(config: TrialConfig, avoided: object) -> object:
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
