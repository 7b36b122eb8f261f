"""Whether an engine computes what the untouched model does, and where it does not.

In 32 bits the largest difference of a log probability may be 1e-4 nats, and the gradient may differ
by 1e-3 of its size. In 16 bits (and int8 and fp8, which round activations) the mean difference may
be 0.05 nats and four times what rounding noise on the embeddings makes of the same numbers (the
losses of targets, or a step's best log probabilities, which rounding moves further); of the
gradient, 0.05 and four times its noise. Replies are compared as far as their tokens lead by more
than four times what a step may differ by.
"""

from torch import Tensor

from trainable.engine.check.reference import Expected, Findings, distance, pick_likely

EXACT_NATS, EXACT_GRADIENT = 1e-4, 1e-3
ROUGH_NATS, ROUGH_GRADIENT = 0.05, 0.05
NOISES = 4.0


def find_difference(expected: Expected, found: Findings, *, is_exact: bool) -> str | None:
    """The first part that differs, with its figures; None: there is none."""
    wanted = expected.findings
    near = EXACT_NATS if is_exact else ROUGH_NATS + NOISES * expected.noise_nats
    for name, nats in found.nats.items():
        apart = measure(nats, wanted.nats[name.partition(" ")[0]], is_exact=is_exact)
        if not apart <= near:  # nor where it is NaN
            what = {"short": "a dialogue alone", "long": "the longest dialogue"}
            where = what.get(name, "a dialogue beside a longer one")
            return f"log probabilities of {where} differ by {apart:.3g} nats ({near:.3g} allowed)"
    near = EXACT_NATS if is_exact else ROUGH_NATS + NOISES * expected.noise_steps
    for name, log_p in found.steps.items():
        own = wanted.steps[name]
        apart = measure(pick_likely(log_p, own), pick_likely(own, own), is_exact=is_exact)
        if not apart <= near:
            return f"a decoding step ({name}) differs by {apart:.3g} nats ({near:.3g} allowed)"
    near_gradient = EXACT_GRADIENT if is_exact else ROUGH_GRADIENT
    near_gradient += 0.0 if is_exact else NOISES * expected.noise_gradients
    apart = distance(found.gradients, wanted.gradients)
    if not apart <= near_gradient:
        return f"the gradient differs by {apart:.3g} of its size ({near_gradient:.3g} allowed)"
    return compare_replies(expected, found, 4 * near)  # of two tokens, both may move


def measure(found: Tensor, wanted: Tensor, *, is_exact: bool) -> float:
    """How far two tensors of one shape [...] are apart: the largest difference, or in 16 bits the
    mean."""
    apart = (found - wanted).abs()
    return float(apart.max() if is_exact else apart.mean())


def compare_replies(expected: Expected, found: Findings, near: float) -> str | None:
    """Up to the first token whose lead a rounding may take."""
    pairs = zip(expected.findings.replies, found.replies, expected.margins, strict=True)
    for wanted, made, margins in pairs:
        sure = next((n for n, margin in enumerate(margins) if margin <= near), len(margins))
        if made[:sure] != wanted[:sure][: len(made)] or len(made) < min(sure, len(wanted)) - 1:
            return f"a greedy reply differs: {made} in the place of {wanted}"
    return None
