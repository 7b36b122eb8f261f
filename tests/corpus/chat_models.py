"""Small models of the families that people chat with: tokenizers of their kinds with their own
special tokens, and templates that write what theirs write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    GemmaTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaTokenizer,
    PreTrainedTokenizerFast,
    Qwen2Tokenizer,
)

TEXT = ["Is four even? Yes. Is seven even?\n\nNo, it is odd. You are kind. [INST] <<SYS>>"] * 3
NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
# bos, then <start_of_turn>user\n...<end_of_turn>\n; the assistant is called model
GEMMA = (
    "{{ bos_token }}" + NO_SYSTEM + "{% for m in messages %}<start_of_turn>"
    "{{ 'model' if m.role == 'assistant' else m.role }}\n{{ m.content | trim }}<end_of_turn>\n"
    "{% endfor %}{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)
PHI_3 = (
    "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% else %}{{ eos_token }}{% endif %}"
)
LLAMA_2 = (
    "{% if messages[0].role == 'system' %}{% set told = messages[0].content %}"
    "{% set messages = messages[1:] %}{% endif %}{% for m in messages %}"
    "{% if m.role == 'user' %}{{ bos_token }}[INST] "
    "{% if told and loop.first %}<<SYS>>\n{{ told }}\n<</SYS>>\n\n{% endif %}"
    "{{ m.content | trim }} [/INST]{% else %} {{ m.content | trim }} {{ eos_token }}{% endif %}"
    "{% endfor %}"
)
LLAMA_3 = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
    "{{ m.content | trim }}<|eot_id|>{% endfor %}{% if add_generation_prompt %}"
    "<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
QWEN = (
    "{% if messages[0].role != 'system' %}<|im_start|>system\nYou are kind.<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# family -> the token that ends a reply
ENDS = {
    **{"gemma": "<end_of_turn>", "phi-3": "<|end|>", "llama-2": "</s>"},
    **{"llama-3": "<|eot_id|>", "qwen": "<|im_end|>"},
}


def make_tokenizer(family: str) -> Any:
    match family:
        case "gemma":
            tokenizer: Any = GemmaTokenizer(**train("▁", "<pad>", "<eos>", "<bos>", "<unk>"))
            # in some of its tokenizers these are added, but not special
            tokenizer.add_tokens(["<start_of_turn>", "<end_of_turn>"])
            template = GEMMA
        case "phi-3":
            vocabulary = train("▁", "<unk>", "<s>", "</s>")
            tokenizer = LlamaTokenizer(**vocabulary, eos_token="<|endoftext|>", add_bos_token=False)
            roles = ("<|system|>", "<|user|>", "<|assistant|>", "<|end|>")
            added = [AddedToken(token, rstrip=True, normalized=False) for token in roles]
            tokenizer.add_tokens(added, special_tokens=True)
            template = PHI_3
        case "llama-2":
            tokenizer = LlamaTokenizer(**train("▁", "<unk>", "<s>", "</s>"), add_bos_token=True)
            template = LLAMA_2
        case "llama-3":
            tokenizer = PreTrainedTokenizerFast(
                tokenizer_object=open_bytes(),
                bos_token="<|begin_of_text|>",
                eos_token="<|eot_id|>",
                additional_special_tokens=["<|start_header_id|>", "<|end_header_id|>"],
            )
            template = LLAMA_3
        case _:
            tokenizer = Qwen2Tokenizer(
                **train(""), eos_token="<|im_end|>", pad_token="<|endoftext|>"
            )
            tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>"]})
            template = QWEN
    tokenizer.chat_template = template
    return tokenizer


def train(blank: str, *special: str) -> dict[str, Any]:
    """vocab and merges: of texts with `blank` for a space and bytes for what is unknown, as
    sentencepiece's; or, blank = "", of bytes, as GPT-2's."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=bool(blank)))
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    if blank:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(blank)
        special, alphabet = (*special, *(f"<0x{i:02X}>" for i in range(256))), [blank]
    else:
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=360,
        special_tokens=list(special),
        initial_alphabet=alphabet,
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXT, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    return {"vocab": model["vocab"], "merges": [tuple(pair) for pair in model["merges"]]}


def open_bytes() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(**train("")))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def make_model(family: str, folder: Path) -> Path:
    """A random one, with its tokenizer."""
    tokenizer = make_tokenizer(family)
    config = LlamaConfig(
        vocab_size=-(-len(tokenizer) // 64) * 64,
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=512,
        initializer_range=0.2,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
