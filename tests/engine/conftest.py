"""Tiny base models of two architectures, and trials that train on the embedded corpus in fp32."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer, GPTNeoXConfig, GPTNeoXForCausalLM, LlamaConfig
from transformers import LlamaForCausalLM as Llama

from trainable.model.source import EMBEDDED_FOLDER

SIZES = {
    "vocab_size": 2048,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 1024,
}


@pytest.fixture(scope="session")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folders of a tiny random Llama (grouped queries) and a tiny random GPT-NeoX."""
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(EMBEDDED_FOLDER)
    sizes = {**SIZES, "vocab_size": len(tokenizer)}
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    models: dict[str, Any] = {
        "llama": Llama(LlamaConfig(**sizes, **ends, num_key_value_heads=2, initializer_range=0.2)),
        "neox": GPTNeoXForCausalLM(GPTNeoXConfig(**sizes, **ends, initializer_range=0.2)),
    }
    folders = {}
    for name, model in models.items():
        folders[name] = tmp_path_factory.mktemp(name)
        model.save_pretrained(folders[name])
        tokenizer.save_pretrained(folders[name])
    return folders
