"""The next token of every row: the likeliest, or a draw that only (seed, dialogue, turn) decide.

What shapes the scores (temperature, top-k, top-p, typical-p, repetition) is transformers' own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    NoRepeatNGramLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    SequenceBiasLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
    TypicalLogitsWarper,
)

from trainable.model.counter import combine, uniform
from trainable.model.special_ids import SpecialIds
from trainable.trial import TrialConfig


@dataclass(frozen=True)
class RowKey:
    """Whose reply a row is."""

    slot: int
    dialogue_id: str
    turn: int
    prompt: NDArray[np.int32]


class Chooser:
    """Chooses for all rows of a decoding, slot after slot, each by its slot's config."""

    def __init__(self, configs: Sequence[TrialConfig], specials: Sequence[SpecialIds]) -> None:
        """A config and its special ids for each slot."""
        self.configs, self.specials = configs, specials
        self.processors = [*map(make_processors, configs, specials)]
        self.needs_history = any(
            config.repetition_penalty != 1.0 or config.no_repeat_ngram_size for config in configs
        )
        self.last = torch.empty(0, dtype=torch.int64)  # [rows]: the newest token

    def begin(self, rows: Sequence[RowKey], device: torch.device) -> None:
        self.slots = np.array([row.slot for row in rows])
        draws = [config.decoding == "sampling" for config in self.configs]
        keys = [  # hashed only where something is drawn
            make_key(self.configs[row.slot], row.dialogue_id, row.turn) if draws[row.slot] else 0
            for row in rows
        ]
        self.keys = torch.tensor(keys, device=device)  # [rows]
        ends = np.array([special.eos for special in self.specials])
        self.ends = torch.from_numpy(ends[self.slots]).to(device)  # [rows]: what closes a reply
        # [rows, tokens]: prompts padded on the left as `generate` pads them, and the replies
        self.history = torch.empty(len(rows), 0, dtype=torch.int64, device=device)
        if self.needs_history:
            longest = max(len(row.prompt) for row in rows)
            padded = np.full((len(rows), longest), self.specials[0].pad, dtype=np.int64)
            for line, row in zip(padded, rows, strict=True):
                line[longest - len(row.prompt) :] = row.prompt
            self.history = torch.from_numpy(padded).to(device)

    def choose(self, logits: Tensor, start: int, step: int) -> Tensor:
        """The tokens [rows] of the rows from `start` on, from their logits [rows, vocabulary]."""
        tokens = logits.argmax(-1)
        slots = self.slots[start : start + len(logits)]
        for slot in np.unique(slots):
            config = self.configs[slot]
            is_plain = not self.processors[slot] and config.decoding != "sampling"
            if is_plain and step >= config.min_new_tokens:
                continue
            mine = np.flatnonzero(slots == slot)
            part = slice(int(mine[0]), int(mine[-1]) + 1)  # a slot's rows lie side by side
            rows = slice(start + part.start, start + part.stop)
            tokens[part] = self._choose_shaped(logits[part], rows, int(slot), step)
        return tokens

    def _choose_shaped(self, logits: Tensor, rows: slice, slot: int, step: int) -> Tensor:
        """Logits [rows, vocabulary] of one slot's rows -> a token each [rows]."""
        config, logits = self.configs[slot], logits.float()
        if step < config.min_new_tokens:  # first: what samples must not keep the end alone
            logits = logits.index_fill(1, self.ends[rows][:1], float("-inf"))
        scores = self.processors[slot](self.history[rows], logits)  # type: ignore[arg-type]
        if config.decoding != "sampling":
            return scores.argmax(-1)
        return draw(scores, self.keys[rows], step)

    def append(self, tokens: Tensor) -> None:
        """tokens [rows]: the newest of each row."""
        self.last = tokens
        if self.needs_history:
            self.history = torch.cat([self.history, tokens[:, None]], dim=1)

    def keep(self, alive: Tensor) -> None:
        """Only these rows go on: their numbers [rows left], int64."""
        self.slots = self.slots[alive.cpu().numpy()]
        self.keys, self.last, self.history = self.keys[alive], self.last[alive], self.history[alive]
        self.ends = self.ends[alive]


def make_processors(config: TrialConfig, special: SpecialIds) -> LogitsProcessorList:
    """The config's processors, in the order in which transformers' `generate` applies them."""
    made = LogitsProcessorList()
    if bias := special.spell_bias(config.placeholder_bias):
        made.append(SequenceBiasLogitsProcessor(bias))
    if config.repetition_penalty != 1.0:
        made.append(RepetitionPenaltyLogitsProcessor(config.repetition_penalty))
    if config.no_repeat_ngram_size:
        made.append(NoRepeatNGramLogitsProcessor(config.no_repeat_ngram_size))
    if config.decoding == "sampling":
        made.extend(make_warpers(config))
    return made


def make_warpers(config: TrialConfig) -> LogitsProcessorList:
    """Those that sampling adds."""
    made = LogitsProcessorList()
    if config.temperature is not None:
        made.append(TemperatureLogitsWarper(float(config.temperature)))
    if config.top_k is not None:
        made.append(TopKLogitsWarper(config.top_k))
    if config.top_p is not None and config.top_p < 1:
        made.append(TopPLogitsWarper(config.top_p))
    if config.typical_p is not None and config.typical_p < 1:
        made.append(TypicalLogitsWarper(config.typical_p))
    return made


def make_key(config: TrialConfig, dialogue_id: str, turn: int) -> int:
    """What all draws of one reply are made of."""
    return combine(config.seed, dialogue_id, turn)


def draw(scores: Tensor, keys: Tensor, step: int) -> Tensor:
    """A token [rows] from the scores [rows, vocabulary]: the rows' keys and the step decide."""
    draws = uniform(keys + step * 0x9E3779B1).double()
    cumulated = scores.softmax(-1).double().cumsum(-1)  # float64: the same for any batch
    reached = cumulated > (draws * cumulated[:, -1])[:, None]
    return reached.to(torch.uint8).argmax(-1)  # the first to pass the draw


class Drawn(LogitsProcessor):
    """For transformers' `generate` without do_sample: leaves each row the one token drawn."""

    def __init__(self, config: TrialConfig, keys: Tensor) -> None:  # keys [rows]
        self.warpers, self.keys, self.step = make_warpers(config), keys, 0

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        tokens = draw(self.warpers(input_ids, scores), self.keys, self.step)  # type: ignore[arg-type]
        self.step += 1
        return torch.full_like(scores, float("-inf")).scatter_(1, tokens[:, None], 0.0)
