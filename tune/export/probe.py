"""What a whole model makes of some validation dialogues, and whether its trial made the same."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig
from transformers.pytorch_utils import Conv1D

from trainable.corpus.encode import Window
from trainable.storage.checkpoint import read_evaluation
from trainable.trial import ConfigError
from tune.export.choice import Choice
from tune.export.tokens import Tokens, encode_dialogues

MEASURED_DIALOGUES = 4  # of the validation's fixed order
NOISES, SLACK_NATS = 10.0, 1e-4  # of a divergence, which grows with the square of its cause
ROUNDING = 2.0**-9  # relative, of bf16


@dataclass(frozen=True)
class Probe:
    """What a merged model makes of some validation dialogues."""

    log_probs: Tensor  # [targets, vocabulary], fp32
    replies: list[str]  # one a system turn


def pick_windows(choice: Choice, tokens: Tokens) -> tuple[list[Window], list[str]]:
    """The first validation dialogues, and the replies that the engine gave to their turns."""
    responses = read_evaluation(choice.checkpoint).responses
    n = min(MEASURED_DIALOGUES, len(responses))
    windows = encode_dialogues(choice.config, tokens, choice.evaluation.split, n)
    if choice.config.earlier_replies == "own":  # later prompts show those, not the corpus's
        first = [window for window in windows if window.turns[0] == 0]
        windows = [replace(w, turns=w.turns[:1], prompts=w.prompts[:1]) for w in first]
    return windows, [responses[w.dialogue_id][t]["response"] for w in windows for t in w.turns]


@torch.no_grad()
def measure(
    model: Any, tokens: Tokens, windows: Sequence[Window], generation: GenerationConfig
) -> Probe:
    """Teacher-forced log-probabilities of all targets, and greedy replies to all turns."""
    greedy = make_greedy(generation)
    log_probs, replies = [], []
    for window in windows:
        ids = torch.from_numpy(window.ids).long()[None]
        logits = model(ids).logits[0, torch.from_numpy(window.targets) - 1]
        log_probs.append(logits.float().log_softmax(-1))
        for prefix in window.prompts:
            made = model.generate(ids[:, :prefix], generation_config=greedy)
            reply = made[0, prefix:].tolist()
            replies.append(tokens.read_reply(reply))
    return Probe(torch.cat(log_probs), replies)


def make_greedy(generation: Any) -> GenerationConfig:
    kept = ("eos_token_id", "pad_token_id", "max_new_tokens", "min_new_tokens")
    shaped = ("sequence_bias", "repetition_penalty", "no_repeat_ngram_size")
    return GenerationConfig(**{name: getattr(generation, name) for name in (*kept, *shaped)})


@contextmanager
def noisy(model: Any) -> Iterator[None]:
    """What rounding alone changes: each linear layer's output off by as much as 16 bits round it.
    Of the merged model itself, so that a merge that went wrong is not taken for noise."""
    generator = torch.Generator().manual_seed(0)

    def shake(layer: torch.nn.Module, inputs: Any, out: Tensor) -> Tensor:
        noise = torch.randn(out.shape, generator=generator)
        return (out.float() * (1 + ROUNDING * noise)).to(out.dtype)

    layers = (m for m in model.modules() if isinstance(m, torch.nn.Linear | Conv1D))
    with ExitStack() as hooks:
        for layer in layers:
            hooks.enter_context(layer.register_forward_hook(shake))
        yield


def measure_divergence(probe: Probe, other: Probe) -> float:
    """The mean KL divergence in nats a target token."""
    nats = (probe.log_probs.exp() * (probe.log_probs - other.log_probs)).sum(-1)
    return float(nats.mean())


def check_predictions(unmerged: float, shaken: float) -> None:
    """Raises ConfigError where the merged model is further from the adapter beside its base, in
    nats a token, than rounding carries it: a few replies show that less surely."""
    most = NOISES * shaken + SLACK_NATS
    if not unmerged <= most:
        raise ConfigError(
            f"--merged must predict as the adapter on its base does, and differs by {unmerged:.2g} "
            f"nats a token, more than the {most:.2g} that rounding explains; export the adapter "
            "alone (without --merged)"
        )


def check_replies(figures: Mapping[str, Any], *, exact: bool) -> None:
    """Raises ConfigError where fewer of the merged model's replies equal the trial's than the
    precision explains."""
    recorded, unmerged = figures["replies_as_recorded"], figures["replies_as_unmerged"]
    share = unmerged if recorded is None else recorded
    least = 1.0 if exact else least_share(1 - figures["replies_under_noise"], figures["turns"])
    if share < least:
        raise ConfigError(
            f"--merged must give the trial's replies: of {figures['turns']} validation replies "
            f"{share:.1%} are the same, fewer than the {least:.1%} that rounding to "
            f"{figures['dtype']} leaves; export the adapter alone (without --merged)"
        )


def least_share(noise: float, n: int) -> float:
    """The least share of n replies that stay the same where rounding changes a share `noise` of
    them: the trial's own were rounded in another way, so that twice as many may differ, and three
    standard errors more.

    >>> round(least_share(0.1, 100), 2), least_share(0.9, 10)
    (0.68, 0.0)
    """
    apart = min(2 * max(noise, 1 / n), 1.0)
    return max(1 - apart - 3 * (apart * (1 - apart) / n) ** 0.5, 0.0)


def share_equal(ours: Sequence[str], theirs: Sequence[str]) -> float:
    """The share of places with equal texts, 0..1."""
    return round(sum(a == b for a, b in zip(ours, theirs, strict=True)) / max(len(ours), 1), 4)
