"""The engine's check of itself, before it trains anything: a model that it does not compute as
transformers does, it refuses.

The same load serves both sides: the untouched model is observed, then its layers are replaced, and
the engine must find the same. A verdict is kept, so that a base model is checked once.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from traceback import walk_tb
from typing import Any

import torch

from trainable.engine.check.compare import find_difference
from trainable.engine.check.packed import Checked, find
from trainable.engine.check.reference import Expected, is_exact, observe
from trainable.engine.check.samples import RANK, Adapter, Samples
from trainable.engine.layers.backbone import find_own_attention
from trainable.engine.layers.lora import shape_of
from trainable.model.base import Base
from trainable.model.modules import list_linear_paths
from trainable.model.verdicts import CheckVerdict, keep_verdict, recall_verdict
from trainable.trial import CannotPack


class SelfCheck:
    """To be made before the model's layers are replaced, and finished after that. Raises
    CannotPack where an earlier check found a difference."""

    def __init__(self, base: Base, tokens: int, max_rank: int) -> None:
        self.base, self.tokens = base, tokens
        self.started_s = time.perf_counter()
        self.device = base.checked_on
        known = None if base.key is None else recall_verdict(base.key, self.device)
        if known is not None and known.reason is not None:
            raise CannotPack(known.reason)
        self.expected: Expected | None = None
        if known is None or known.tokens < tokens:
            if (reason := find_own_attention(base.model)) is not None:
                self.settle(reason)
            self._observe(max_rank)

    def _observe(self, max_rank: int) -> None:
        base = self.base
        layers = {path: base.model.get_submodule(path) for path in list_linear_paths(base.model)}
        shapes = {path: shape_of(layer) for path, layer in layers.items()}
        sizes = {path: (shape.in_features, shape.out_features) for path, shape in shapes.items()}
        self.samples = Samples.draw(base, self.tokens)
        self.adapter = Adapter.draw(sizes, min(RANK, max_rank), base.device)
        with eager(base.model):
            self.expected = observe(base, self.samples, self.adapter)

    def finish(self, pack: Checked) -> None:
        """Raises CannotPack with what differs."""
        if self.expected is None:
            return
        firsts = [reply[0] for reply in self.expected.findings.replies]
        cause: Exception | None = None
        exact = is_exact(self.base.compute_dtype, self.base.residency)
        try:
            found = find(pack, self.samples, self.adapter, firsts)
            reason = find_difference(self.expected, found, is_exact=exact)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # whatever a model of unknown kind does with packed tokens
            part = name_part(error) or type(self.base.model).__name__
            told = " ".join(str(error).split())[:100]
            reason = f"the engine cannot run its {part} ({type(error).__name__}: {told})"
            cause = error
        self.settle(reason, cause)

    def settle(self, reason: str | None, cause: Exception | None = None) -> None:
        """Keeps the verdict. Raises CannotPack where there is a reason to."""
        self.expected = None
        if self.base.key is not None:
            spent_s = time.perf_counter() - self.started_s
            verdict = CheckVerdict(reason=reason, tokens=self.tokens, check_s=round(spent_s, 2))
            keep_verdict(self.base.key, self.device, verdict)
        if reason is not None:
            raise CannotPack(reason) from cause


@contextmanager
def eager(model: Any) -> Iterator[None]:
    """Attention by transformers' own formula: the only one that knows every rule of a model."""
    kept = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        yield
    finally:
        model.set_attn_implementation(kept)


def name_part(error: BaseException) -> str | None:
    """The class of the model's innermost layer that it came through; None: it met none."""
    layers = (frame.f_locals.get("self") for frame, _ in walk_tb(error.__traceback__))
    kinds = [type(layer) for layer in layers if isinstance(layer, torch.nn.Module)]
    own = [k.__name__ for k in kinds if not k.__module__.startswith(("torch.", "trainable."))]
    return own[-1] if own else None
