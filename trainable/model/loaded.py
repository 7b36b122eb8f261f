"""Whether a checkpoint is a language model's, and the whole of it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from trainable.trial import ConfigError, Setting

# what stands on models that write no text: BERT's kind, classifiers, rewards, bare encoders
OTHER_HEADS = re.compile(
    r"(For(MaskedLM|PreTraining|QuestionAnswering|MultipleChoice|\w*Classification)"
    r"|(Reward|Encoder)Model)$"
)


def check_heads(shape: Mapping[str, Any], base_model: str) -> None:
    """Raises ConfigError where a config.json names no model that writes text.

    >>> check_heads({"architectures": ["GPT2LMHeadModel"]}, "gpt2")
    """
    names = shape.get("architectures")
    is_told = isinstance(names, Sequence) and bool(names)
    if is_told and all(OTHER_HEADS.search(str(name)) for name in names):
        raise ConfigError(
            f"a base model must be one that writes text, and {base_model} is a {names[0]} "
            "(config.json): give a decoder or an encoder-decoder (",
            *(Setting("base_model"), ")"),
        )


def check_loaded(found: Any, base_model: str) -> None:
    """`found`: what `from_pretrained` tells of its loading. Raises ConfigError where the files lack
    weights, for which it draws random numbers: a classifier's have no output layer, a torn folder's
    lack whatever is gone."""
    if missing := sorted(found["missing_keys"]):
        raise ConfigError(
            f"a base model needs all of its weights, and the files of {base_model} lack "
            f"{len(missing)} of them ({missing[0]} first): give a language model's whole "
            "checkpoint (",
            *(Setting("base_model"), ")"),
        )
