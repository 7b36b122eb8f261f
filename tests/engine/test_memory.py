"""Out of memory at a join, in a step, while generating: the others go on unharmed.

A pass that is too large is refused where CUDA would refuse it: this machine may have no GPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny_trials import make_config, make_spec

from trainable.engine.engine import Engine
from trainable.result import ValidationRequest
from trainable.trial import TrialFailed

GOAL_TURNS = 30


@pytest.fixture
def engine(bases: dict[str, Path]) -> Iterator[Engine]:
    engine = Engine(make_spec(bases["llama"]), slots=3, max_rank=8, pass_tokens=4096)
    yield engine
    engine.close()


def refuse(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, when: Callable) -> list[Any]:
    """The method runs out of memory on arguments for which `when` holds; those refused."""
    work, refused = getattr(owner, name), []

    def limited(*arguments: Any) -> Any:
        if when(*arguments):
            refused.append(arguments)
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return work(*arguments)

    monkeypatch.setattr(owner, name, limited)
    return refused


def train_together(engine: Engine, keys: list[str]) -> dict[str, BaseException | None]:
    with ThreadPoolExecutor(len(keys)) as threads:
        futures = {key: threads.submit(engine.train_until, key, GOAL_TURNS) for key in keys}
        return {key: future.exception() for key, future in futures.items()}


@pytest.mark.slow
def test_passes_shrink_until_they_fit_and_nobody_notices(
    engine: Engine, bases: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def count_tokens(slots: Any, pieces: Any, span: Any) -> int:
        return sum(piece.n_tokens for piece in pieces)

    refused = refuse(monkeypatch, engine.pack, "_run", lambda *a: count_tokens(*a) > 600)
    for key in "abc":
        engine.join(key, make_config(bases["llama"], seed=ord(key)), None)
    assert set(train_together(engine, [*"abc"]).values()) == {None}
    assert refused and engine.pack.memory.pass_tokens < 4096
    engine.save("a", tmp_path / "short")
    curve = engine.curve("a")
    roomy = Engine(make_spec(bases["llama"]), slots=1, max_rank=8)
    roomy.join("a", make_config(bases["llama"], seed=ord("a")), None)
    roomy.train_until("a", GOAL_TURNS)
    roomy.save("a", tmp_path / "roomy")
    losses = [[p.loss_nats for p in c.points] for c in (curve, roomy.curve("a"))]
    assert losses[0] and losses[0] == pytest.approx(losses[1], 1e-4)
    roomy.close()
    found, expected = (
        load_file(tmp_path / name / "adapter_model.safetensors") for name in ("short", "roomy")
    )
    for name, value in expected.items():
        assert float((found[name] - value).norm()) <= 1e-5 * float(value.norm()), name


@pytest.mark.slow
def test_a_dialogue_too_large_is_recomputed_on_the_way_back(
    bases: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the bit what it is otherwise, dropout among it."""
    weights = []
    for is_short in (False, True):
        engine = Engine(make_spec(bases["llama"]), slots=1, max_rank=8, pass_tokens=512)
        engine.join("a", make_config(bases["llama"], lora_dropout=0.2), None)
        model, refused = engine.pack.model, []
        if is_short:
            keeps_all = partial(lambda model, *_: not model.is_gradient_checkpointing, model)
            refused = refuse(monkeypatch, engine.pack, "_run", keeps_all)
        engine.train_until("a", GOAL_TURNS)
        assert model.is_gradient_checkpointing == bool(refused) == is_short
        engine.save("a", tmp_path / str(is_short))
        weights.append(load_file(tmp_path / str(is_short) / "adapter_model.safetensors"))
        engine.close()
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


@pytest.mark.slow
def test_a_trial_too_large_by_itself_fails_alone(
    engine: Engine, bases: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    refuse(monkeypatch, engine.pack, "_run", lambda slots, *_: "big" in [s.key for s in slots])
    for key in ("small", "big", "other"):
        engine.join(key, make_config(bases["llama"]), None)
    ends = train_together(engine, ["small", "big", "other"])
    assert ends["small"] is None and ends["other"] is None
    assert isinstance(ends["big"], TrialFailed)
    assert str(ends["big"]).startswith("out of memory at ")
    assert engine.pack.memory.pass_tokens == 4096  # the one that did not fit is out
    assert not engine.pack.model.is_gradient_checkpointing


def test_a_join_without_room_fails_alone(
    engine: Engine, bases: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.join("first", make_config(bases["llama"]), None)
    refuse(monkeypatch, engine.pack.bank, "initialise", lambda row, shape, seed: seed == 13)
    with pytest.raises(TrialFailed, match="out of memory"):
        engine.join("second", make_config(bases["llama"], seed=13), None)
    engine.join("third", make_config(bases["llama"]), None)
    assert set(train_together(engine, ["first", "third"]).values()) == {None}


@pytest.mark.slow
def test_replies_come_in_smaller_chunks(
    engine: Engine, bases: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    import trainable.engine.decode.chunks as chunks

    engine.join("a", make_config(bases["llama"], max_new_tokens=4), None)
    expected = engine.generate("a", ValidationRequest(4)).responses
    monkeypatch.setattr("trainable.engine.device.memory.CPU_CACHE_BYTES", 2**23)
    take = chunks.take_chunk

    def limited(pack: Any, queues: Any, readers: Any) -> Any:
        chunk = take(pack, queues, readers)
        if sum(map(len, chunk)) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return chunk

    monkeypatch.setattr(chunks, "take_chunk", limited)
    assert engine.generate("a", ValidationRequest(4)).responses == expected
    assert engine.pack.memory.cache_cut > 1
