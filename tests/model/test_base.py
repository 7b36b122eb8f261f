"""The base model: its residencies agree, its failures are one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from architectures import build_tokenizer
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from tokenizers.processors import TemplateProcessing
from torch.nn import functional as F

from trainable.model.base import Base, BaseSpec, load_base
from trainable.model.source import check_base
from trainable.trial import ConfigError

Make = Callable[..., str]


def load(folder: str, **fields: object) -> Base:
    return load_base(BaseSpec(base_model=folder, device="cpu", **fields))  # type: ignore[arg-type]


def logits(base: Base) -> torch.Tensor:
    ids = torch.tensor([[1, 3, 4, 3, 5, 4]])
    extra = {"decoder_input_ids": ids} if base.is_encoder_decoder else {}
    with torch.no_grad():
        return base.model(input_ids=ids, **extra).logits


@pytest.mark.parametrize("architecture", ["llama", "gpt_neox", "falcon", "t5"])
@pytest.mark.parametrize("quantisation", ["nf4", "fp4"])
def test_dequantised_computes_what_packed_does(
    make_checkpoint: Make, architecture: str, quantisation: str
) -> None:
    folder = make_checkpoint(architecture)
    packed, plain = (
        load(folder, quantisation=quantisation, double_quantisation=True, residency=residency)
        for residency in ("nf4", "dequantized")
    )
    assert (packed.residency, plain.residency) == (quantisation, "dequantized")
    assert torch.equal(logits(packed), logits(plain))
    assert packed.total_params == plain.total_params


@pytest.mark.parametrize("quantisation", ["int8", "bf16", "fp32"])
def test_other_weights(make_checkpoint: Make, quantisation: str) -> None:
    base = load(make_checkpoint("llama"), quantisation=quantisation)
    assert base.residency == quantisation
    assert torch.isfinite(logits(base)).all()
    assert base.compute_dtype == (torch.bfloat16 if quantisation == "bf16" else torch.float32)


@pytest.mark.parametrize("architecture", ["gpt_neox", "falcon", "t5"])
def test_frozen_in_train_mode_and_without_dropout(make_checkpoint: Make, architecture: str) -> None:
    base = load(make_checkpoint(architecture), quantisation="fp32")
    assert base.model.training
    assert not any(parameter.requires_grad for parameter in base.model.parameters())
    assert torch.equal(logits(base), logits(base))


def test_random_weights_are_the_same_each_time_and_not_the_checkpoint(
    make_checkpoint: Make,
) -> None:
    folder = make_checkpoint("llama")
    first, second = (load(folder, quantisation="fp32", initialisation="random") for _ in range(2))
    assert torch.equal(logits(first), logits(second))
    assert not torch.equal(logits(first), logits(load(folder, quantisation="fp32")))


def test_random_initialisation_leaves_the_callers_generator_alone(make_checkpoint: Make) -> None:
    folder = make_checkpoint("llama")
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    load(folder, initialisation="random", double_quantisation=True)
    assert torch.equal(torch.rand(3), expected)


def test_tied_heads_count_once(make_checkpoint: Make) -> None:
    base = load(make_checkpoint("llama"), double_quantisation=True)
    attention, ffn = 4 * 64 * 64, 3 * 64 * 128
    assert base.total_params == 64 * 64 + 2 * (attention + ffn + 2 * 64) + 64


@pytest.mark.parametrize(
    ("special", "added", "prefix", "pad"),
    [
        (
            {"bos_token": "<bos>", "pad_token": "<pad>"},
            ["<bos>"],
            (1,),
            0,
        ),  # Llama's and Gemma's way
        ({"bos_token": "<bos>", "pad_token": "<pad>"}, [], (), 0),  # Qwen's and SmolLM's
        ({"bos_token": "<eos>", "pad_token": "<eos>"}, [], (), 0),  # pythia's and many others'
        ({}, [], (), 0),
        ({"eos_token": "<pad>"}, [], (), 1),
    ],
)
def test_a_sequence_begins_with_what_the_tokenizer_itself_puts_in_front(
    make_checkpoint: Make,
    special: dict[str, str],
    added: list[str],
    prefix: tuple[int, ...],
    pad: int,
) -> None:
    folder = make_checkpoint("llama", **special)
    put_in_front(folder, added)
    base = load(folder, quantisation="fp32")
    assert base.special.prefix == prefix
    assert base.special.pad == pad != base.special.eos


def put_in_front(folder: str, added: list[str]) -> None:
    path = Path(folder) / "tokenizer.json"
    tokenizer = Tokenizer.from_file(str(path))
    ids = [(token, tokenizer.token_to_id(token)) for token in added]
    tokenizer.post_processor = TemplateProcessing(single=[*added, "$A"], special_tokens=ids)
    tokenizer.save(str(path))


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_masked_attention_has_finite_gradients(make_checkpoint: Make, device: str) -> None:
    """At 192 = 128 + 64 tokens, and at scores of -120: cuDNN's kernel has none."""
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("there is no GPU")
    torch.backends.cuda.enable_cudnn_sdp(True)
    load(make_checkpoint("llama"), quantisation="fp32")
    assert not torch.backends.cuda.cudnn_sdp_enabled()
    query, key, value = torch.randn(3, 1, 2, 192, 64, device=device, dtype=torch.bfloat16)
    query[..., 0], key[..., 0] = 1.0, -120 * 64**0.5
    query.requires_grad_()
    mask = torch.ones(192, 192, dtype=torch.bool, device=device).tril()
    F.scaled_dot_product_attention(query, key, value, attn_mask=mask).sum().backward()
    assert query.grad is not None and query.grad.isfinite().all()


def test_model_without_eos(make_checkpoint: Make, tmp_path: Path) -> None:
    folder = make_checkpoint("llama")
    build_tokenizer().save_pretrained(folder)
    (Path(folder) / "special_tokens_map.json").unlink(missing_ok=True)
    with pytest.raises(ConfigError, match="end-of-sequence"):
        load(folder, quantisation="fp32")


def strip_tokenizer(folder: Path) -> None:
    for path in folder.glob("*token*"):
        path.unlink()


def need_remote_code(folder: Path) -> None:
    (folder / "config.json").write_text(
        '{"model_type": "novel", "auto_map": {"AutoConfig": "novel.NovelConfig"}}'
    )


def break_config(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "lla')


def break_weights(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])


def remove_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def lose_a_weight(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["model.layers.1.mlp.up_proj.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def edit_config(folder: Path, **fields: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lose_a_weight, r"lack 1 of them \(model.layers.1.mlp.up_proj.weight first\)"),
        (lambda folder: edit_config(folder, intermediate_size=64), "is \\[128, 64\\] where that"),
        (lambda folder: edit_config(folder, model_type="llava"), "no decoder of its kind"),
        (strip_tokenizer, "needs a tokenizer"),
        (need_remote_code, "--trust-remote-code"),
        (break_config, "cannot be loaded"),
        (break_weights, "cannot be loaded"),
        (remove_config, "must hold config.json or exactly one .gguf"),
    ],
)
def test_damaged_folder_is_one_line(
    make_checkpoint: Make, damage: Callable[[Path], None], words: str
) -> None:
    folder = make_checkpoint("llama")
    damage(Path(folder))
    with pytest.raises(ConfigError, match=words) as caught:
        load(folder, double_quantisation=True)
    assert "\n" not in str(caught.value)


def test_check_base_sees_what_is_missing_before_anything_is_loaded(
    make_checkpoint: Make, tmp_path: Path
) -> None:
    folder = make_checkpoint("llama")
    check_base(folder)
    check_base("tiny")
    edit_config(Path(folder), architectures=["RobertaForMaskedLM"])
    with pytest.raises(ConfigError, match="must be one that writes text"):
        check_base(folder)
    strip_tokenizer(Path(folder))
    for missing in (folder, str(tmp_path / "nowhere"), "./nowhere"):
        with pytest.raises(ConfigError, match="base_model"):
            check_base(missing)


def test_hub_model_that_is_not_cached_when_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for call in (check_base, load):
        with pytest.raises(ConfigError, match="HF_HUB_OFFLINE is set, and it is not in the cache"):
            call("nobody/no-such-model")


@pytest.mark.parametrize(
    "fields",
    [
        {"quantisation": "int4"},
        {"quantisation": "bf16", "residency": "dequantized"},
        {"residency": "ram"},
        {"initialisation": "zeros"},
    ],
)
def test_bad_spec(fields: dict[str, str]) -> None:
    with pytest.raises(ConfigError):
        BaseSpec(**fields)  # type: ignore[arg-type]


def test_weights_of_other_shapes_are_refused_in_32_bits_too(make_checkpoint: Make) -> None:
    folder = make_checkpoint("llama")
    edit_config(Path(folder), intermediate_size=64)
    with pytest.raises(ConfigError, match=r"down_proj.weight is \[64, 128\] where that"):
        load(folder, quantisation="fp32")
