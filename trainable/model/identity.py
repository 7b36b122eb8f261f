"""Which base model an adapter stands on: its weights, and how its tokenizer writes prompts.

Told beside every checkpoint and export. An adapter on other weights, or asked in other tokens, is
another system, and gives no error of its own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from trainable.model.source import OUTSIDE, list_weight_files, locate
from trainable.model.special_ids import SpecialIds
from trainable.trial import ConfigError, TrialConfig

KEY = "base"  # in trainer.json and trial.json
SAMPLE = "user> Is there a 4 star hotel, please?\nbot> [name] is at [address].\n"
HEAD_BYTES = 64  # of every tensor
# field -> what a difference in it means
WORDS = {
    "prefix_ids": "begins every sequence with the tokens",
    "eos_id": "closes every reply with the token",
    "sample_ids": f"cuts {SAMPLE[:12]!r}... into",
}


Identity = dict[str, Any]


def identify(base_model: str, tokenizer: Any, special: SpecialIds, *, is_random: bool) -> Identity:
    """What a checkpoint tells of its base model, JSON-ready."""
    return {
        "weights": None if is_random else fingerprint(base_model),
        "prefix_ids": list(special.prefix),
        "eos_id": special.eos,
        "sample_ids": list(tokenizer(SAMPLE, add_special_tokens=False)["input_ids"]),
    }


def fingerprint(base_model: str) -> str | None:
    """A hash over the beginnings of the layers' tensors, behind their type; None where the weights
    are not here in safetensors. Equal weights in another type are not told to be equal."""
    files = [p for p in list_weight_files(base_model) if p.name.startswith("model")]
    entries = sorted(entry for path in files for entry in read_heads(path))
    if not entries:
        return None
    kinds = "+".join(sorted({kind for _, kind, _ in entries}))
    digest = hashlib.sha256(repr(entries).encode()).hexdigest()
    return f"{kinds}:{digest[:32]}"


def read_heads(path: Path) -> Iterator[tuple[str, str, bytes]]:
    """(name, type, first bytes) of the tensors of a safetensors file; embeddings left out, which
    may be stored once or twice. https://github.com/huggingface/safetensors#format"""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        for name, entry in header.items():
            if name == "__metadata__" or OUTSIDE.search(name):
                continue
            begin, end = entry["data_offsets"]
            file.seek(8 + size + begin)
            yield name, entry["dtype"], file.read(min(HEAD_BYTES, end - begin))


def check_identity(told: Mapping[str, Any], own: Mapping[str, Any], place: str) -> None:
    """Raises ConfigError where what `place` was made with differs from the base model at hand; what
    either does not tell is not compared."""
    check_weights(told.get("weights"), own.get("weights"), place)
    for name, words in WORDS.items():
        then, now = told.get(name), own.get(name)
        if then is not None and now is not None and then != now:
            raise ConfigError(
                f"the prompts of {place} were written with another tokenizer: it {words} "
                f"{show(then)}, and the base model's at hand {show(now)}; give the tokenizer that "
                "it was made with (--base-model, --set base_model=)"
            )


def check_weights(told: str | None, own: str | None, place: str) -> None:
    if told is None or own is None:
        return
    (kind, then), (own_kind, now) = told.split(":"), own.split(":")
    if kind == own_kind and then != now:
        raise ConfigError(
            f"{place} was made on another base model: its weights differ from those at hand; give "
            "the base that it was made for (--base-model, --set base_model=)"
        )


def show(value: int | Sequence[int]) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def check_base_of(told: Mapping[str, Any], named: str | None, config: TrialConfig) -> None:
    """The adapter's base against the trial's, by what is known without loading either: the weights
    where a trial has told them, else the names. Raises ConfigError."""
    base, place = config.base_model, f"adapter {config.adapter}"
    if config.initialisation == "random" or named is None or is_same_place(named, base):
        return check_weights(told.get("weights"), fingerprint(base), place)
    theirs = told.get("weights") or fingerprint_if_here(named)
    own = fingerprint(base)
    if theirs is not None and own is not None:
        return check_weights(theirs, own, place)
    if is_hub_id(named) and is_hub_id(base) and last_name(named) != last_name(base):
        raise ConfigError(
            f"{place} was made on {named}, and base_model is {base}: give its own base, or, where "
            "the weights are the same, correct base_model_name_or_path in adapter_config.json"
        )


def fingerprint_if_here(base_model: str) -> str | None:
    try:
        return fingerprint(base_model)
    except ConfigError:  # a folder of another machine
        return None


def is_same_place(one: str, other: str) -> bool:
    """Whether two names mean the same folder or repository."""
    try:
        places = [Path(locate(name).name) for name in (one, other)]
    except ConfigError:
        return False
    return places[0] == places[1] or places[0].resolve() == places[1].resolve()


def is_hub_id(name: str) -> bool:
    is_path = name.startswith((".", "/", "~")) or name.count("/") > 1
    return not is_path and not Path(name).is_dir() and name != "tiny"


def last_name(name: str) -> str:
    return name.rpartition("/")[2].lower()
