"""Module selections on real models of each architecture."""

from __future__ import annotations

from typing import Any

import pytest
from architectures import CONFIGS, build
from bitsandbytes.nn.modules import Linear4bit

from trainable.model.base import BaseSpec, load_base
from trainable.model.modules import list_linear_paths
from trainable.model.quantise import quantise
from trainable.model.selections import select_paths
from trainable.model.source import read_layer_paths
from trainable.trial import ConfigError

# architecture -> selection -> the last parts of the paths it takes in every layer
EXPECTED = {
    "llama": {
        "attention": {"q_proj", "k_proj", "v_proj", "o_proj"},
        "ffn": {"gate_proj", "up_proj", "down_proj"},
        "qv": {"q_proj", "v_proj"},
    },
    "gpt_neox": {
        "attention": {"query_key_value", "dense"},
        "ffn": {"dense_h_to_4h", "dense_4h_to_h"},
        "qv": {"query_key_value"},
    },
    "falcon": {
        "attention": {"query_key_value", "dense"},
        "ffn": {"dense_h_to_4h", "dense_4h_to_h"},
        "qv": {"query_key_value"},
    },
    "mpt": {
        "attention": {"Wqkv", "out_proj"},
        "ffn": {"up_proj", "down_proj"},
        "qv": {"Wqkv"},
    },
    "qwen": {
        "attention": {"q_proj", "k_proj", "v_proj", "o_proj"},
        "ffn": {"gate_proj", "up_proj", "down_proj"},
        "qv": {"q_proj", "v_proj"},
    },
    "opt": {
        "attention": {"q_proj", "k_proj", "v_proj", "out_proj"},
        "ffn": {"fc1", "fc2"},
        "qv": {"q_proj", "v_proj"},
    },
    "t5": {"attention": {"q", "k", "v", "o"}, "ffn": {"wi", "wo"}, "qv": {"q", "v"}},
}


def resolve_modules(model: Any, selection: str) -> tuple[str, ...]:
    return select_paths(list_linear_paths(model), selection)


def leaves(paths: tuple[str, ...]) -> set[str]:
    return {path.rsplit(".", 1)[-1] for path in paths}


@pytest.mark.parametrize("architecture", CONFIGS)
def test_selections_by_architecture(architecture: str) -> None:
    model = build(architecture)
    chosen = {name: resolve_modules(model, name) for name in EXPECTED[architecture]}
    assert {name: leaves(paths) for name, paths in chosen.items()} == EXPECTED[architecture]


@pytest.mark.parametrize("architecture", CONFIGS)
def test_attention_and_ffn_part_all_linear(architecture: str) -> None:
    model = build(architecture)
    attention, ffn = resolve_modules(model, "attention"), resolve_modules(model, "ffn")
    every = resolve_modules(model, "all-linear")
    assert not set(attention) & set(ffn)
    assert sorted(attention + ffn) == sorted(every)
    assert not any(path.endswith(("lm_head", "embed_out")) for path in every)


def test_regexp_matches_whole_paths_with_case() -> None:
    model = build("mpt")
    assert leaves(resolve_modules(model, r"regexp:.*\.0\..*Wqkv")) == {"Wqkv"}
    assert len(resolve_modules(model, r"regexp:.*\.0\..*Wqkv")) == 1
    for pattern in ("regexp:Wqkv", "regexp:.*wqkv"):
        with pytest.raises(ConfigError, match=r"matches none.*Wqkv, out_proj, up_proj"):
            resolve_modules(model, pattern)


@pytest.mark.parametrize("selection", ["regexp:(", "everything"])
def test_bad_selection_is_one_line(selection: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resolve_modules(build("llama"), selection)
    assert selection in str(caught.value) and "\n" not in str(caught.value)


def test_quantised_layers_are_the_same_ones() -> None:
    for architecture in ("llama", "falcon"):
        model = build(architecture)
        before = list_linear_paths(model)
        quantise(model, "nf4", double=True)
        assert list_linear_paths(model) == before
        assert all(isinstance(model.get_submodule(path), Linear4bit) for path in before)


def test_the_layers_are_known_from_the_weights_files() -> None:
    """Enough to refuse a selection before anything is loaded."""
    paths = read_layer_paths("tiny")
    assert paths is not None
    assert sorted(paths) == sorted(list_linear_paths(load_base(BaseSpec(device="cpu")).model))
