"""Whether a checkpoint is a language model's, and the whole of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
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
    told = shape.get("architectures")
    names = told if isinstance(told, list) else []
    if names and all(OTHER_HEADS.search(str(name)) for name in names):
        raise ConfigError(
            f"a base model must be one that writes text, and {base_model} is a {names[0]} "
            "(config.json): give a decoder or an encoder-decoder (",
            *(Setting("base_model"), ")"),
        )


def check_loaded(model: Any, found: Any, base_model: str) -> None:
    """`found`: what `from_pretrained` tells of its loading. Raises ConfigError where the files lack
    weights (a classifier's have no output layer) or have them in other shapes: it would draw random
    numbers in their place, and does not look at the shapes of 4-bit layers."""
    if missing := sorted(found["missing_keys"]):
        raise ConfigError(
            f"a base model needs all of its weights, and the files of {base_model} lack "
            f"{len(missing)} of them ({missing[0]} first): give a language model's whole "
            "checkpoint (",
            *(Setting("base_model"), ")"),
        )
    for name, there, wanted in (*sorted(found["mismatched_keys"]), *list_odd(model)):
        raise ConfigError(
            f"the weights of {base_model} must have the shapes of its config.json, and {name} is "
            f"{list(there)} where that says {list(wanted)}: give the configuration and the weights "
            "of one model (",
            *(Setting("base_model"), ")"),
        )


def list_odd(model: Any) -> Iterator[tuple[str, Sequence[int], Sequence[int]]]:
    """The 4-bit layers whose weights are not of their shape: name, the weights', the layer's."""
    for name, layer in model.named_modules():
        state = getattr(getattr(layer, "weight", None), "quant_state", None)
        if state is not None and tuple(state.shape) != (layer.out_features, layer.in_features):
            yield name, state.shape, (layer.out_features, layer.in_features)
