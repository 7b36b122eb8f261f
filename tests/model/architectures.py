"""Checkpoints of every architecture, made on the fly: random weights, a tokenizer of six words."""

from __future__ import annotations

from tokenizers import Tokenizer, models
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    FalconConfig,
    GPTNeoXConfig,
    LlamaConfig,
    MptConfig,
    OPTConfig,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    T5Config,
)

WIDTHS = {"vocab_size": 64, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
HEADS = {"num_attention_heads": 2}
CONFIGS: dict[str, PretrainedConfig] = {
    "llama": LlamaConfig(**WIDTHS, **HEADS, tie_word_embeddings=True),
    "gpt_neox": GPTNeoXConfig(**WIDTHS, **HEADS, attention_dropout=0.1, hidden_dropout=0.1),
    "falcon": FalconConfig(
        vocab_size=64, hidden_size=64, num_hidden_layers=2, **HEADS, hidden_dropout=0.1
    ),
    "mpt": MptConfig(vocab_size=64, d_model=64, n_heads=2, n_layers=2, expansion_ratio=2),
    "qwen": Qwen2Config(**WIDTHS, **HEADS, num_key_value_heads=2),
    "opt": OPTConfig(vocab_size=64, hidden_size=64, ffn_dim=128, num_hidden_layers=2, **HEADS),
    "t5": T5Config(
        vocab_size=64, d_model=64, d_kv=32, d_ff=128, num_layers=2, num_heads=2, dropout_rate=0.1,
        decoder_start_token_id=0,
    ),
}  # fmt: skip


def build(architecture: str) -> PreTrainedModel:
    kind = AutoModelForSeq2SeqLM if architecture == "t5" else AutoModelForCausalLM
    return kind.from_config(CONFIGS[architecture])


def build_tokenizer(**special: str) -> PreTrainedTokenizerFast:
    words = ["<pad>", "<bos>", "<eos>", "a", "b", "c"]
    vocabulary = models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="a")
    return PreTrainedTokenizerFast(tokenizer_object=Tokenizer(vocabulary), **special)
