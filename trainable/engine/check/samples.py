"""What an engine is checked on: dialogues of the embedded corpus, an adapter that is not zero."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from trainable.corpus.encode import Window
from trainable.corpus.load import load_corpus
from trainable.engine.slots.task import Task
from trainable.model.base import Base
from trainable.trial import TrialConfig

RANK = 4
SIZE = 0.1  # of B's numbers; A's are peft's
CONFIG = TrialConfig(method="none", double_quantisation=True, max_new_tokens=6)


@dataclass(frozen=True)
class Samples:
    short: Window
    long: Window  # of as many tokens as a dialogue may have
    prompts: tuple[Window, ...]  # no targets; one turn each, at their end
    alternatives: tuple[int, ...]  # another token behind each of them

    @classmethod
    def draw(cls, base: Base, tokens: int) -> Samples:
        room = min(base.positions or CONFIG.max_length_tokens, CONFIG.max_length_tokens)
        config = replace(CONFIG, max_length_tokens=room)
        task = Task(config, load_corpus(config.corpus), base)
        windows = task.encode_whole(task.dialogues("validation", 8))
        windows.sort(key=lambda window: len(window.ids))
        short = windows[len(windows) // 2]
        long = join(windows, tokens)
        prompts = tuple(cut(w, w.prompts[len(w.prompts) // 2]) for w in (windows[0], windows[-1]))
        return cls(short, long, prompts, tuple(int(w.ids[-2]) for w in (windows[0], windows[-1])))


def join(windows: Sequence[Window], tokens: int) -> Window:
    """One of exactly so many tokens, over and over."""
    copies = -(-tokens // sum(len(window.ids) for window in windows))
    ids = np.concatenate([window.ids for window in windows] * copies)[:tokens]
    is_target = np.concatenate([window.is_target for window in windows] * copies)[:tokens]
    return Window("long", ids, is_target, (), ())


def cut(window: Window, prefix: int) -> Window:
    """A prompt."""
    name = window.dialogue_id
    return Window(name, window.ids[:prefix], np.zeros(prefix, dtype=np.bool_), (0,), (prefix,))


@dataclass(frozen=True)
class Adapter:
    """A [in, rank] and B [rank, out] of every linear layer, in 32 bits."""

    layers: Mapping[str, tuple[Tensor, Tensor]] = field(repr=False)
    scale: float = 1.0

    @classmethod
    def draw(
        cls, shapes: Mapping[str, tuple[int, int]], rank: int, device: torch.device
    ) -> Adapter:
        generator = torch.Generator().manual_seed(0)

        def draw(rows: int, columns: int, size: float) -> Tensor:  # [rows, columns]
            return (size * torch.randn(rows, columns, generator=generator)).to(device)

        return cls(
            {
                name: (draw(n_in, rank, n_in**-0.5), draw(rank, n_out, SIZE * n_in**-0.5))
                for name, (n_in, n_out) in shapes.items()
            }
        )
