"""Passes of an encoder-decoder: the encoder reads the history, the decoder writes the reply."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from trainable.corpus.encode import Window
from trainable.solo.generate import Prompt
from trainable.solo.passes import IGNORED, Passes
from trainable.trial import TrialConfig


class Seq2SeqPasses(Passes):
    """Every system turn is one example: what stands in front of its reply, and the reply."""

    def predict(self, windows: Sequence[Window]) -> tuple[Tensor, Tensor]:
        """(logits [examples * target tokens, vocabulary], labels [examples * target tokens],
        IGNORED where padded)"""
        examples = [example for window in windows for example in self._list_examples(window)]
        ids, mask = self.pad([source for source, _ in examples], left=False)
        targets, is_target = self.pad([target for _, target in examples], left=False)
        labels = targets.masked_fill(is_target == 0, IGNORED)
        before = targets.roll(1, dims=1)
        before[:, 0] = self._first()
        with self.autocast():
            logits = self.model(input_ids=ids, attention_mask=mask, decoder_input_ids=before).logits
        return logits.flatten(0, 1).float(), labels.flatten()

    def _first(self) -> int:
        """The token that `generate` begins a reply with: what a model makes of labels may begin
        with another (T5Gemma, mBART)."""
        settings = self.model.generation_config
        first = settings.decoder_start_token_id
        return int(settings.bos_token_id if first is None else first)

    def _list_examples(self, window: Window) -> list[tuple[list[int], list[int]]]:
        """(what the encoder reads, what the decoder learns to write) of every learnt turn."""
        examples = []
        for prefix in window.prompts:
            end = prefix
            while end < len(window.ids) and window.is_target[end]:
                end += 1
            source = [*window.ids[:prefix].tolist(), self.base.special.eos]
            examples.append((source, window.ids[prefix:end].tolist()))
        return examples

    def say(self, prompts: Sequence[Prompt], config: TrialConfig) -> list[list[int]]:
        sources = [[*row, self.base.special.eos] for _, _, row in prompts]
        ids, mask = self.pad(sources, left=False)
        out = self.generate(ids, mask, prompts, config)
        return [row.tolist()[1:] for row in out]  # without the decoder's start token

    def _ignores_padding(self) -> bool:
        return True  # an encoder's padding is masked
