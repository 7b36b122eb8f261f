"""A GGUF file read back by transformers, and set against the merged model that it was made of."""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM

from trainable.trial import ConfigError
from tune.export.choice import Choice
from tune.export.gguf.vocabulary import Reading
from tune.export.gguf.write import check_package, name_file, write_gguf
from tune.export.merge import add_up, check_mergeable
from tune.export.probe import Probe, measure, measure_divergence, pick_windows, share_equal
from tune.export.tokens import Tokens, read_special

# nats a token that rounding the weights explains; a tensor in a wrong place costs whole nats
MOST_APART = {"f16": 1e-3, "q8_0": 0.1}


def write_checked(
    choice: Choice,
    tokens: Tokens,
    generation: Any,
    dtype_name: str,
    kinds: tuple[str, ...],
    folder: Path,
) -> dict[str, Any]:
    """Writes the files and the Modelfile, reads them back, and returns for each kind how far it is
    from the merged model in fp32. Raises ConfigError where that is more than rounding."""
    check_mergeable(choice.config, "--gguf")
    check_package()
    model = add_up(choice, choice.config.quantisation, getattr(torch, dtype_name)).eval()
    write_gguf(model, choice.config, to_reading(choice, tokens), kinds, folder)
    windows, recorded = pick_windows(choice, tokens)
    probe = measure(model, tokens, windows, generation)
    figures: dict[str, Any] = {"turns": len(recorded), "files": {}}
    for kind in kinds:
        again = AutoModelForCausalLM.from_pretrained(
            folder, gguf_file=name_file(kind), config=model.config, dtype=torch.float32
        ).eval()
        found = set_apart(probe, measure(again, tokens, windows, generation))
        check_apart(kind, found["kl_nats_per_token"])
        figures["files"][name_file(kind)] = found
    return figures


def to_reading(choice: Choice, tokens: Tokens) -> Reading:
    special = read_special(choice.config, tokens)
    return Reading(tokenizer=tokens.tokenizer, ids=tokens.special, special=special)


def set_apart(probe: Probe, other: Probe) -> dict[str, float]:
    return {
        "kl_nats_per_token": round(measure_divergence(probe, other), 6),
        "same_replies": share_equal(probe.replies, other.replies),
    }


def check_apart(kind: str, divergence_nats: float) -> None:
    if not divergence_nats <= MOST_APART[kind]:
        raise ConfigError(
            f"--gguf {kind} must compute what the merged model does, and read back its predictions "
            f"are {divergence_nats:.4f} nats a token apart (KL), more than rounding explains "
            f"({MOST_APART[kind]:g}): export it with --merged"
        )
