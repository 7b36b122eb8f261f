"""What the untouched model computes: transformers' own module, before any of its layers changes."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from trainable.corpus.encode import Window
from trainable.engine.check.samples import CONFIG, Adapter, Samples
from trainable.model.base import Base

ROUNDING = ("int8", "fp8")  # bases that round what they multiply
NOISE = 2.0**-9  # relative, of embeddings: how far rounding alone carries in 16 bits
DRAWS = 4  # of that noise, for steps: they have few numbers
LIKELY = 8  # of a step's log probabilities, the best are compared


@dataclass(frozen=True)
class Findings:
    """Of a model with the adapter on it, or of an engine."""

    nats: dict[str, Tensor]  # each target's loss, of the short and the long dialogue
    steps: dict[str, Tensor]  # log probabilities behind prompt and token: [prompts, vocabulary]
    replies: list[list[int]]  # greedy, one a prompt
    gradients: dict[str, tuple[Tensor, Tensor]]  # of the short dialogue's summed loss


@dataclass(frozen=True)
class Expected:
    findings: Findings
    margins: list[list[float]]  # of each reply's tokens over the second best, in nats
    noise_nats: float  # mean difference of a target's loss that rounding makes; 0 in 32 bits
    noise_steps: float  # the same of a step's best log probabilities
    noise_gradients: float  # relative


def observe(base: Base, samples: Samples, adapter: Adapter) -> Expected:
    """What the untouched model makes of the samples, with that adapter."""
    device, model = base.device, base.model
    with hooked(model, adapter):
        gradients, short = differentiate(model, samples.short, adapter)
        with torch.no_grad():
            long = score(model, samples.long)
            replies, margins = zip(*(continue_(base, w) for w in samples.prompts), strict=True)
            firsts = [reply[0] for reply in replies]
            steps = take_steps(model, samples, firsts)
        noise_nats = noise_steps = noise_gradients = 0.0
        if not is_exact(base.compute_dtype, base.residency):
            with noisy(model, device):
                others, noisy_short = differentiate(model, samples.short, adapter)
            noise_nats = float((noisy_short - short).abs().mean())
            noise_steps = measure_noise(base, samples, firsts, steps)
            noise_gradients = distance(others, gradients)
    nats = {"short": short, "long": long}
    findings = Findings(nats, steps, list(replies), gradients)
    return Expected(findings, list(margins), noise_nats, noise_steps, noise_gradients)


def is_exact(dtype: torch.dtype, residency: str) -> bool:
    return dtype == torch.float32 and residency not in ROUNDING


def distance(
    found: dict[str, tuple[Tensor, Tensor]], wanted: dict[str, tuple[Tensor, Tensor]]
) -> float:
    """Of gradients (A [in, rank], B [rank, out]) of each layer: the norm of their difference over
    that of what is wanted, all layers together."""
    apart = sum(
        float((a - b).square().sum())
        for name, pair in wanted.items()
        for a, b in zip(found[name], pair, strict=True)
    )
    size = sum(float(b.square().sum()) for pair in wanted.values() for b in pair)
    return float((apart / max(size, 1e-30)) ** 0.5)


@contextmanager
def hooked(model: nn.Module, adapter: Adapter) -> Iterator[None]:
    """The adapter's part added behind each linear layer."""

    def add(name: str) -> Any:
        a, b = (side.requires_grad_() for side in adapter.layers[name])

        def hook(layer: nn.Module, inputs: tuple[Tensor, ...], out: Tensor) -> Tensor:
            x = inputs[0]  # [..., in]; out is [..., out]
            return out + (adapter.scale * (x @ a.to(x.dtype))) @ b.to(x.dtype)

        return model.get_submodule(name).register_forward_hook(hook)

    with ExitStack() as hooks:
        for name in adapter.layers:
            hooks.enter_context(add(name))
        yield


@contextmanager
def noisy(model: Any, device: torch.device, size: float = NOISE, seed: int = 1) -> Iterator[None]:
    """The model with embeddings that are off by that share, at random."""
    generator = torch.Generator().manual_seed(seed)

    def hook(layer: nn.Module, inputs: Any, out: Tensor) -> Tensor:  # [..., width]
        noise = torch.randn(out.shape, generator=generator).to(device, out.dtype)
        return out * (1 + size * noise)

    with model.get_input_embeddings().register_forward_hook(hook):
        yield


def differentiate(
    model: Any, window: Window, adapter: Adapter
) -> tuple[dict[str, tuple[Tensor, Tensor]], Tensor]:
    """(layer -> gradients of the summed loss in A [in, rank] and B [rank, out]; each target's loss
    in nats [targets])"""
    nats = score(model, window)
    sides = [side for pair in adapter.layers.values() for side in pair]
    grads = torch.autograd.grad(nats.sum(), sides, allow_unused=True)
    whole = [torch.zeros_like(s) if g is None else g for s, g in zip(sides, grads, strict=True)]
    pairs = zip(whole[::2], whole[1::2], strict=True)
    return dict(zip(adapter.layers, pairs, strict=True)), nats.detach()


def score(model: Any, window: Window) -> Tensor:
    """[targets]: each one's loss in nats."""
    ids = torch.from_numpy(window.ids).long().to(model.device)
    targets = torch.from_numpy(window.targets).to(model.device)
    logits = model(input_ids=ids[None], use_cache=False).logits[0, targets - 1]
    return F.cross_entropy(logits.float(), ids[targets], reduction="none")


def predict(model: Any, ids: list[int]) -> Tensor:
    """Log probabilities [vocabulary] behind these tokens."""
    logits = model(input_ids=torch.tensor([ids], device=model.device), use_cache=False).logits
    return logits[0, -1].float().log_softmax(-1)


def continue_(base: Base, prompt: Window) -> tuple[list[int], list[float]]:
    """A greedy reply without its end, and each token's margin over the second best."""
    ids = prompt.ids.tolist()
    reply: list[int] = []
    margins: list[float] = []
    while len(reply) < CONFIG.max_new_tokens:
        best = predict(base.model, ids + reply).topk(2)
        reply.append(int(best.indices[0]))
        margins.append(float(best.values[0] - best.values[1]))
        if reply[-1] == base.special.eos:
            break
    return reply, margins


def take_steps(model: Any, samples: Samples, firsts: list[int]) -> dict[str, Tensor]:
    """Behind each prompt and the reply's first token; and another one in its place."""
    followed = {"row": firsts, "branch": list(samples.alternatives)}
    return {name: step(model, samples, tokens) for name, tokens in followed.items()}


def measure_noise(
    base: Base, samples: Samples, firsts: list[int], steps: dict[str, Tensor]
) -> float:
    """How far noise moves the best log probabilities of those steps: their mean, in nats."""
    moved = []
    for seed in range(DRAWS):
        with noisy(base.model, base.device, seed=seed), torch.no_grad():
            others = take_steps(base.model, samples, firsts)
        moved += [pick_likely(others[n] - steps[n], steps[n]).abs() for n in steps]
    return float(torch.stack(moved).mean())


def pick_likely(values: Tensor, log_p: Tensor) -> Tensor:
    """Of values [rows, vocabulary] those of the words that are likely: [rows, LIKELY]."""
    return values.gather(1, log_p.topk(LIKELY).indices)


def step(model: Any, samples: Samples, tokens: list[int]) -> Tensor:
    """[prompts, vocabulary]: behind each prompt and its token."""
    pairs = zip(samples.prompts, tokens, strict=True)
    return torch.stack([predict(model, [*w.ids.tolist(), token]) for w, token in pairs])
