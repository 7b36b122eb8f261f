"""How fast an engine trains and generates here, and how much it holds."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from trainable.corpus.encode import Window
from trainable.engine.decode.chunks import decode_chunks
from trainable.engine.device.memory import give_back_memory
from trainable.engine.pack import Pack
from trainable.engine.slots.slot import Slot
from trainable.model.gpu_memory import GIB
from trainable.result import ValidationRequest
from trainable.trial import TrialConfig


@dataclass(frozen=True, kw_only=True)
class Speed:
    """One stretch of work."""

    seconds: float
    steps: int  # optimizer steps while training, replies while generating
    tokens: int  # read while training, written while generating
    peak_gib: float
    readied: Readied | None = None  # left out of the above

    @property
    def steps_per_s(self) -> float:
        return self.steps / self.seconds

    @property
    def tokens_per_s(self) -> float:
        return self.tokens / self.seconds

    @property
    def tokens_per_s_in_all(self) -> float:
        """With what was left out."""
        left = self.readied or Readied(passes=0, seconds=0.0, tokens=0)
        return (self.tokens + left.tokens) / (self.seconds + left.seconds)


def measure_training(pack: Pack, budget_s: float) -> Speed:
    """All slots of the pack train for about `budget_s`, after one step that is not counted. Passes
    that compile or are recorded do so once in a sweep: they are counted apart. The device is waited
    for at the end alone: its own clock tells what lies between two passes."""
    slots = list(pack.slots.values())
    for slot in slots:
        slot.goal_turns = 10**9
    while min(slot.steps for slot in slots) < 1:
        train_within_memory(pack, slots)
    started_s = start_clock(pack.device)
    marks = [Mark.of(pack)]
    while time.perf_counter() - started_s < budget_s or marks[-1].steps == marks[0].steps:
        train_within_memory(pack, slots)
        marks.append(Mark.of(pack))
    synchronise(pack.device)
    for slot in slots:
        slot.abandon()
    return sum_up(marks, pack.peak_gib())


@dataclass(frozen=True, kw_only=True)
class Readied:
    """Passes that compiled or were recorded."""

    passes: int
    seconds: float
    tokens: int


@dataclass(frozen=True, kw_only=True)
class Mark:
    """Where a pack stands behind a pass."""

    at: Any  # an event on the device's clock; seconds of the CPU's
    steps: int
    tokens: int
    readied: int  # passes so far

    @classmethod
    def of(cls, pack: Pack) -> Mark:
        slots = pack.slots.values()
        steps, tokens = sum(s.steps for s in slots), sum(s.tokens_seen for s in slots)
        readied = pack.train_together.n_readied
        if pack.device.type != "cuda":
            return cls(at=time.perf_counter(), steps=steps, tokens=tokens, readied=readied)
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return cls(at=event, steps=steps, tokens=tokens, readied=readied)

    def seconds_until(self, later: Mark) -> float:
        if isinstance(self.at, torch.cuda.Event):
            return float(self.at.elapsed_time(later.at)) / 1e3
        return float(later.at - self.at)


def sum_up(marks: Sequence[Mark], peak_gib: float) -> Speed:
    """The stretch between the first mark and the last; where every pass of it readied something,
    these are counted after all."""
    spans = list(pairwise(marks))
    steady = [(a, b) for a, b in spans if a.readied == b.readied] or spans
    seconds = sum(a.seconds_until(b) for a, b in steady)
    tokens = sum(b.tokens - a.tokens for a, b in steady)
    first, last = marks[0], marks[-1]
    return Speed(
        seconds=seconds,
        steps=sum(b.steps - a.steps for a, b in steady),
        tokens=tokens,
        peak_gib=peak_gib,
        readied=Readied(
            passes=len(spans) - len(steady),
            seconds=first.seconds_until(last) - seconds,
            tokens=last.tokens - first.tokens - tokens,
        ),
    )


def train_within_memory(pack: Pack, slots: Sequence[Slot]) -> None:
    """A pass; smaller ones from then on where the memory is short. Raises torch's OutOfMemoryError
    where they cannot be smaller."""
    while True:
        try:
            pack.train_pass(slots)
            return
        except torch.OutOfMemoryError as error:
            shortage = str(error)  # what the error itself holds must go before anything is freed
        if not pack.shrink_passes():
            raise torch.OutOfMemoryError(shortage)


def measure_replies(pack: Pack, n_dialogues: int) -> Speed:
    """All slots reply to the first validation dialogues, together."""
    slots = list(pack.slots.values())
    started_s = start_clock(pack.device)
    made = pack.generate([(slot, ValidationRequest(n_dialogues)) for slot in slots])
    synchronise(pack.device)
    seconds = time.perf_counter() - started_s
    texts = [
        turn["response"] for replies, _ in made.values() for d in replies.values() for turn in d
    ]
    tokens = sum(map(len, slots[0].task.tokenise(texts)))
    return Speed(seconds=seconds, steps=len(texts), tokens=tokens, peak_gib=pack.peak_gib())


def fits_batch(pack: Pack, rows: int, prompt_tokens: int, new_tokens: int) -> bool:
    """Whether so many replies of exactly `new_tokens` can be decoded at once."""
    slot = next(iter(pack.slots.values()))
    config: TrialConfig = replace(
        slot.config, max_new_tokens=new_tokens, min_new_tokens=new_tokens, decoding="greedy"
    )
    ids = np.random.default_rng(0).integers(3, 100, prompt_tokens).astype(np.int32)
    untargeted = np.zeros(prompt_tokens, dtype=np.bool_)
    windows = [Window(str(n), ids, untargeted, (0,), (prompt_tokens,)) for n in range(rows)]
    return fits(lambda: decode_at_once(pack, windows, config))


def decode_at_once(pack: Pack, windows: list[Window], config: TrialConfig) -> None:
    """In one chunk, whatever the memory set aside for it."""
    pack.gather([next(iter(pack.slots.values()))])
    cut, pack.memory.cache_cut = pack.memory.cache_cut, 1e-9
    try:
        decode_chunks(pack, [windows], [config], [0], [pack.base.special.eos])
        synchronise(pack.device)
    finally:
        pack.memory.cache_cut = cut
        pack.adapters.invalidate()


def fits(work: Callable[[], object]) -> bool:
    """Whether the work ends without running out of memory; what it held is given back."""
    try:
        work()
    except torch.OutOfMemoryError:
        return False
    finally:
        give_back_memory()
    return True


def find_largest(is_possible: Callable[[int], bool], limit: int) -> int:
    """The largest number up to `limit` that is possible, where all smaller ones are: doubled until
    it is not, then bisected. 0: none is.

    >>> find_largest(lambda n: n <= 37, 1000), find_largest(lambda n: True, 50)
    (37, 50)
    """
    low, high = 0, 1
    while high <= limit and is_possible(high):
        low, high = high, 2 * high
    high = min(high, limit + 1)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if is_possible(middle) else (low, middle)
    return low


def start_clock(device: torch.device) -> float:
    synchronise(device)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    return time.perf_counter()


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def describe_gpu() -> tuple[str, str]:
    """(GPU model and its memory, CUDA's version)."""
    if not torch.cuda.is_available():
        return "cpu", "–"
    memory_gib = torch.cuda.get_device_properties(0).total_memory / GIB
    return f"{torch.cuda.get_device_name()} ({memory_gib:.0f} GiB)", str(torch.version.cuda)
