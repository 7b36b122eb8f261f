"""Where a step's time goes, on a model whose parts all cost something."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_trials import make_config, make_spec

from trainable.engine.pack import Pack
from trainable.model.base import load_base
from tune.bench.profile import OPERATORS, REST, measure_shares


def test_every_part_has_its_share(bases: dict[str, Path]) -> None:
    pack = Pack(load_base(make_spec(bases["llama"])), slots=2, max_rank=8, pass_tokens=1024)
    for key in "ab":
        pack.join(key, make_config(bases["llama"], seed=ord(key)), None)
        pack.slots[key].goal_turns = 1000
    shares = measure_shares(pack, lambda: pack.train_pass(list(pack.slots.values())))
    assert set(shares) == {*OPERATORS.values(), "loss", "optimizer", REST}
    shown = {part for part, share in shares.items() if share > 0}
    assert shown == shares.keys() - {"norms, gates and rotary"}  # these are kernels on a GPU alone
    assert sum(shares.values()) == pytest.approx(1)
