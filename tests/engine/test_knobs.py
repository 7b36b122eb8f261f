"""Variants of LoRA: each trains in the engine, beside a trial without it, as it does by peft alone;
what is saved computes the same in plain peft on the untouched base, and is gone on from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from test_contract import open_pack, train
from tiny_trials import make_config, make_spec
from torch import Tensor

from trainable.engine.pack import Pack
from trainable.engine.slots.peft_format import PREFIX
from trainable.engine.slots.slot import SlotState
from trainable.model.base import load_base
from trainable.result import ValidationRequest
from trainable.solo.choose import open_plain
from trainable.storage.adapter import inherit, read_adapter_config
from trainable.storage.adapter_ranks import read_scale

KNOBS: dict[str, dict[str, Any]] = {
    "lora+": {"lora_plus_ratio": 8.0},
    "share": {"train_share": 0.05},
    "ranks": {"rank_pattern": "down_proj=6,every-second=2", "rslora": True},
    "depth": {"lora_layers": "last-half"},
    "pissa": {"lora_init": "pissa", "rank_pattern": "ffn=3"},
    "neftune": {"neftune_alpha": 10.0},
    "dora": {"dora": True, "lora_modules": "ffn"},
}


SHAPE = ("lora_rank", "rank_pattern", "alpha_over_rank")  # of a PiSSA's adapter they are others


def read_changes(folder: Path) -> dict[str, Tensor]:
    """What a saved adapter adds to each layer's weight."""
    tensors, fields = load_file(folder / "adapter_model.safetensors"), read_adapter_config(folder)
    names = [name.partition(".lora_A.")[0] for name in tensors if ".lora_A." in name]
    return {
        name: read_scale(fields, name.removeprefix(PREFIX))
        * (tensors[f"{name}.lora_B.weight"] @ tensors[f"{name}.lora_A.weight"])
        for name in names
    }


def assert_like(found: Path, wanted: Path, near: float) -> None:
    changes, others = read_changes(found), read_changes(wanted)
    assert changes.keys() == others.keys()
    own, theirs = (load_file(f / "adapter_model.safetensors") for f in (found, wanted))
    for name in own.keys() | theirs.keys():
        if name.endswith("magnitude_vector"):
            assert (own[name] - theirs[name]).norm() <= near * own[name].norm(), name
    for name, change in changes.items():
        assert (change - others[name]).norm() <= near * change.norm(), name


def measure_by_peft(pack: Pack, folder: Path) -> float:
    """Nats a target of two dialogues, by plain peft on the untouched base."""
    model = PeftModel.from_pretrained(load_base(make_spec(Path(base_of(pack)))).model, folder)
    nats = []
    for window in pack.slots["mine"].task.held_out("validation", 2):
        ids, targets = torch.from_numpy(window.ids).long(), torch.from_numpy(window.targets)
        with torch.no_grad():
            logits = model(input_ids=ids[None]).logits[0, targets - 1]
        nats.append(torch.nn.functional.cross_entropy(logits, ids[targets], reduction="none"))
    return float(torch.cat(nats).mean())


def base_of(pack: Pack) -> str:
    return pack.slots["mine"].config.base_model


@pytest.mark.slow
@pytest.mark.parametrize("knob", KNOBS)
def test_a_knob_is_peft_s_whatever_stands_beside_it(
    knob: str, bases: dict[str, Path], tmp_path: Path
) -> None:
    folder, near = bases["llama"], 1e-4
    config = make_config(folder, seed=3, weight_decay=0.1, averaging=0.4, **KNOBS[knob])
    pack = open_pack(folder, slots=2)
    pack.join("mine", config, None)
    pack.join("other", make_config(folder, seed=4), None)
    pack.copy_state("mine").write(tmp_path / "start")
    begins = config if config.lora_init else replace(config, adapter=str(tmp_path / "start"))
    alone = open_plain(begins, "cpu")
    train(pack, {"mine": 24, "other": 24})
    pack.copy_state("mine").write(tmp_path / "half")
    train(pack, {"mine": 48})
    pack.copy_state("mine").write(tmp_path / "mine")
    alone.train_until(24)
    alone.save(tmp_path / "alone-half")
    again = open_plain(begins, "cpu", tmp_path / "alone-half")
    again.train_until(48)
    again.save(tmp_path / "alone")
    assert_like(tmp_path / "mine", tmp_path / "alone", near)
    resumed = open_pack(folder, slots=2)
    resumed.join("mine", config, SlotState.read(tmp_path / "half"))
    train(resumed, {"mine": 48})
    resumed.copy_state("mine").write(tmp_path / "resumed")
    assert_like(tmp_path / "mine", tmp_path / "resumed", 1e-5)
    brought = {name: inherit(str(tmp_path / "mine")).get(name) for name in SHAPE}
    warm = replace(config, **brought, lora_init=None, adapter=str(tmp_path / "mine"))
    resumed.join("warm", warm, None)
    begun = resumed.generate([(resumed.slots["warm"], ValidationRequest(2))])["warm"][1].loss_nats
    made = pack.generate([(pack.slots["mine"], ValidationRequest(2))])["mine"][1].loss_nats
    assert begun == pytest.approx(made, rel=1e-5)
    assert made == pytest.approx(measure_by_peft(pack, tmp_path / "mine"), rel=1e-5)
    assert again.generate(ValidationRequest(2)).losses.loss_nats == pytest.approx(made, rel=1e-4)


def test_knobs_that_are_off_change_no_bit(bases: dict[str, Path], tmp_path: Path) -> None:
    saved = []
    off = {"lora_plus_ratio": 1.0, "train_share": 1.0, "lora_layers": "all"}
    off |= {"lora_init": "uniform", "neftune_alpha": 0.0, "rank_pattern": "all-linear=4"}
    for changes in ({}, off):
        pack = open_pack(bases["llama"], slots=1)
        pack.join("mine", make_config(bases["llama"], **changes), None)
        train(pack, {"mine": 24})
        saved.append(pack.copy_state("mine").adapter)
    assert all(torch.equal(value, saved[1][name]) for name, value in saved[0].items())


def test_a_larger_share_contains_a_smaller_one(bases: dict[str, Path]) -> None:
    pack = open_pack(bases["llama"], slots=1)
    pack.join("mine", make_config(bases["llama"]), None)
    task = pack.slots["mine"].task
    few, more = ({w.dialogue_id for w in task.train_part(share)} for share in (0.1, 0.3))
    assert few < more and len(few) == pytest.approx(len(more) / 3, rel=0.05)
