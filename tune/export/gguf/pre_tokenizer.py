"""How a tokenizer cuts a text before it joins letters, and llama.cpp's name for the same."""

from collections.abc import Mapping
from typing import Any

from trainable.trial import ConfigError

# the expressions of published tokenizers, which decide where tokens may meet
CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
TAIL = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3 = rf"{CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}|{TAIL}"
QWEN2 = rf"{CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}|{TAIL}"
GPT2 = "gpt-2"
NAMES: Mapping[tuple[object, ...], str] = {
    (GPT2,): "gpt-2",
    ("digit", GPT2): "smollm",
    (LLAMA3,): "llama-bpe",
    (QWEN2,): "qwen2",
}


def name_pre_tokenizer(spelt: Mapping[str, Any] | None) -> str:
    """Of the part of tokenizer.json. Raises ConfigError where llama.cpp has none that is known
    here to cut alike."""
    steps = tuple(step for part in list_parts(spelt) for step in read_step(part))
    if (name := NAMES.get(steps)) is None:
        raise ConfigError(
            "--gguf cannot write this base model's tokenizer: how it cuts a text is not known to "
            f"be llama.cpp's way ({', '.join(map(str, steps))[:120]}); export it with --merged"
        )
    return name


def list_parts(spelt: Mapping[str, Any] | None) -> list[Mapping[str, Any]]:
    if spelt is None:
        return []
    return list(spelt["pretokenizers"]) if spelt["type"] == "Sequence" else [spelt]


def read_step(part: Mapping[str, Any]) -> list[object]:
    """What a part does to a text; nothing where it only spells bytes."""
    match part["type"]:
        case "Digits" if part["individual_digits"]:
            return ["digit"]
        case "ByteLevel" if not part["add_prefix_space"]:
            return [GPT2] if part.get("use_regex", True) else []
        case "Split" if part["behavior"] == "Isolated" and not part["invert"]:
            return [part["pattern"].get("Regex", part["pattern"])]
    return [part["type"]]
