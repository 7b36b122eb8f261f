"""Which base model an adapter stands on: its weights, and how its tokenizer writes prompts.

Told beside every checkpoint and export. An adapter on other weights, or asked in other tokens, is
another system, and gives no error of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trainable.model.fingerprint import fingerprint, fingerprint_if_here, is_same, is_same_place
from trainable.model.special_ids import SpecialIds
from trainable.trial import ConfigError, Setting, TrialConfig

KEY = "base"  # in trainer.json and trial.json
SAMPLE = "user> Is there a 4 star hotel, please?\nbot> [name] is at [address].\n"
# runs of signs that tokenizers part differently: numbers, spaces, accents, other scripts
PROBE = "£12.50 at 07:45 on 2026-11-29, CB21AB\n\n\tI'd 1234567890  x_y/z" + "é ñ Straße 北京 Ж 🙂"
PROBE += "".join(map(chr, range(33, 127)))
# field -> what a difference in it means
WORDS = {
    "prefix_ids": "begins every sequence with the tokens",
    "eos_id": "closes every reply with the token",
    "sample_ids": f"cuts {SAMPLE[:12]!r}... into",
    "probe": "cuts numbers, signs and other scripts into tokens with the digest",
}


Identity = dict[str, Any]


def identify(base_model: str, tokenizer: Any, special: SpecialIds, *, is_random: bool) -> Identity:
    """What a checkpoint tells of its base model, JSON-ready."""
    return {
        "weights": None if is_random else fingerprint(base_model),
        "prefix_ids": list(special.prefix),
        "eos_id": special.eos,
        "sample_ids": list(tokenizer(SAMPLE, add_special_tokens=False)["input_ids"]),
        "probe": _digest(tokenizer(PROBE, add_special_tokens=False)["input_ids"]),
    }


def check_identity(told: Mapping[str, Any], own: Mapping[str, Any], place: str) -> None:
    """Raises ConfigError where what `place` was made with differs from the base model at hand; what
    either does not tell is not compared."""
    check_weights(told.get("weights"), own.get("weights"), place)
    for name, words in WORDS.items():
        then, now = told.get(name), own.get(name)
        if then is not None and now is not None and then != now:
            raise ConfigError(
                f"the prompts of {place} were written with another tokenizer: it {words} "
                f"{show(then)}, and the base model's {show(now)}; give the tokenizer that "
                "it was made with (",
                *(Setting("base_model"), ")"),
            )


def check_weights(told: str | None, own: str | None, place: str) -> None:
    if told is not None and own is not None and not is_same(told, own):
        raise ConfigError(
            f"{place} was made on another base model: its weights differ; give "
            "the base that it was made for (",
            *(Setting("base_model"), ")"),
        )


def _digest(ids: Sequence[int]) -> str:
    return hashlib.sha256(repr(list(ids)).encode()).hexdigest()[:16]


def show(value: int | str | Sequence[int]) -> str:
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


def is_hub_id(name: str) -> bool:
    is_path = name.startswith((".", "/", "~")) or name.count("/") > 1
    return not is_path and not Path(name).is_dir() and name != "tiny"


def last_name(name: str) -> str:
    return name.rpartition("/")[2].lower()
