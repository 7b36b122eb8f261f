"""L3: in bf16 and fp16 a slot's gradient is no further from the exact one than solo peft's is."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft import PeftModel
from tiny_trials import make_config
from torch import Tensor
from transformers import PreTrainedModel

from trainable.engine.layers.output import Output
from trainable.engine.pack import Pack
from trainable.engine.slots.data_order import DataOrder, Draw
from trainable.engine.slots.loss_scale import SCALE
from trainable.model.base import BaseSpec, load_base

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
SEEDS = (0, 1, 2)


def load(folder: Path, quantisation: str, compute: str = "auto") -> PreTrainedModel:
    held = {"quantisation": quantisation, "compute": compute}
    return load_base(BaseSpec(base_model=str(folder), device=DEVICE, **held)).model


def give_weights(pack: Pack) -> None:
    """B away from zero, so that A has a gradient too."""
    generator = torch.Generator().manual_seed(0)
    for row, key in enumerate(pack.rows):
        for name in pack.slots[str(key)].shape.modules:
            b = pack.bank.layout.pair(pack.bank.params, name, row)[1]
            rank = pack.slots[str(key)].shape.rank
            b[:rank] = 0.05 * torch.randn(rank, b.shape[1], generator=generator).to(b.device)
    pack.bank.average.copy_(pack.bank.params)  # what is saved


def gradients_of_peft(model: PreTrainedModel, adapter: Path, draws: list[Draw]) -> Tensor:
    """Of the mean loss over one step's targets, in 16 bits as peft is commonly trained if the model
    is (fp16 with GradScaler's first scale); flat, by name."""
    peft_model = PeftModel.from_pretrained(model, adapter, is_trainable=True)
    is_16_bit, scale = model.dtype != torch.float32, 2.0**16
    n_targets = sum(int(draw.window.is_target.sum()) for draw in draws)
    for draw in draws:
        ids = torch.from_numpy(draw.window.ids).long()[None].to(DEVICE)
        labels = ids.masked_fill(~torch.from_numpy(draw.window.is_target)[None].to(DEVICE), -100)
        with torch.autocast(DEVICE, model.dtype, enabled=is_16_bit):
            logits = peft_model(input_ids=ids).logits[:, :-1].flatten(0, 1).float()
        loss = torch.nn.functional.cross_entropy(
            logits, labels[:, 1:].flatten(), reduction="sum", ignore_index=-100
        )
        (loss / n_targets * scale).backward()
    named = {n: p.grad for n, p in peft_model.named_parameters() if p.requires_grad}
    return torch.cat([named[n].float().flatten() for n in sorted(named)]) / scale


def gradients_of_slots(pack: Pack, monkeypatch: pytest.MonkeyPatch) -> dict[str, Tensor]:
    """The bank's gradients after one step, in peft's order and shapes."""
    monkeypatch.setattr(pack.optimizer, "step", lambda span, settings: None)
    while under_way := [slot for slot in pack.slots.values() if slot.steps == 0]:
        pack.train_pass(under_way)
    found = {}
    for row, key in enumerate(pack.rows):
        shape = pack.slots[str(key)].shape
        named = {}
        for name in shape.modules:
            a, b = pack.bank.layout.pair(pack.bank.grads, name, row)
            named[f"base_model.model.{name}.lora_A.default.weight"] = a[:, : shape.rank].T
            named[f"base_model.model.{name}.lora_B.default.weight"] = b[: shape.rank].T
        flat = torch.cat([named[n].flatten() for n in sorted(named)])
        found[str(key)] = flat / pack.bank.scaling[row, SCALE]
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    ("architecture", "compute"), [("llama", "bf16"), ("neox", "bf16"), ("llama", "fp16")]
)
def test_l3_the_gradient_in_16_bits(
    bases: dict[str, Path],
    architecture: str,
    compute: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = bases[architecture]
    held = {"quantisation": "bf16", "compute": compute}
    base = load_base(BaseSpec(base_model=str(folder), device=DEVICE, **held))
    base.model.save_pretrained(tmp_path / "rounded")
    base.tokenizer.save_pretrained(tmp_path / "rounded")
    pack = Pack(base, slots=len(SEEDS), max_rank=16, pass_tokens=16384)
    pack.pads_to_bucket = True  # on a CPU too: steps in several passes, filled up
    configs = {
        str(seed): make_config(folder, seed=seed, lora_rank=4 + 6 * seed, **held) for seed in SEEDS
    }
    for key, config in configs.items():
        pack.join(key, config, None)
    give_weights(pack)
    tasks = {key: slot.task for key, slot in pack.slots.items()}
    for key in configs:
        pack.copy_state(key).write(tmp_path / key)
    found = gradients_of_slots(pack, monkeypatch)
    errors = {"slot": 0.0, "solo": 0.0}
    for key, config in configs.items():
        draws = DataOrder(tasks[key].train, config.batch_turns or 0, config.seed).next_step()
        exact = gradients_of_peft(load(tmp_path / "rounded", "fp32"), tmp_path / key, draws)
        solo = gradients_of_peft(load(folder, **held), tmp_path / key, draws)
        errors["slot"] += float((found[key] - exact).norm() / exact.norm()) / len(SEEDS)
        errors["solo"] += float((solo - exact).norm() / exact.norm()) / len(SEEDS)
    print(f"{architecture} on {DEVICE}: relative error of the gradient {errors}")
    assert 0 < errors["slot"] <= 1.1 * errors["solo"]


def test_of_two_tokens_within_a_rounding_step_the_likelier_is_taken() -> None:
    """In bf16 both scores would be 32: the lower id would be taken."""
    hidden = torch.ones(1, 64, dtype=torch.bfloat16)
    output = torch.full((3, 64), 0.5, dtype=torch.bfloat16)
    output[0, 0], output[2, 0] = 0.25, 0.53125
    rounded = hidden @ output.T
    assert rounded[0, 1] == rounded[0, 2] and int(rounded.argmax()) == 1
    assert int(Output(weight=output).scores(hidden).argmax()) == 2
