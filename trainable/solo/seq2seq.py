"""An encoder-decoder as a trial: the encoder reads the history, the decoder writes the reply."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from transformers import LogitsProcessorList

from trainable.corpus.encode import Window
from trainable.solo.train import IGNORED, PlainFinetuner


class Seq2SeqFinetuner(PlainFinetuner):
    """Every system turn is one example: what stands in front of its reply, and the reply."""

    def predict(self, windows: Sequence[Window]) -> tuple[Tensor, Tensor]:
        examples = [example for window in windows for example in self._list_examples(window)]
        ids, mask = self.pad([source for source, _ in examples], left=False)
        targets, is_target = self.pad([target for _, target in examples], left=False)
        labels = targets.masked_fill(is_target == 0, IGNORED)
        with self.autocast():
            logits = self.model(input_ids=ids, attention_mask=mask, labels=labels).logits
        return logits.flatten(0, 1).float(), labels.flatten()

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

    def say(self, prompts: list[list[int]], drawn: LogitsProcessorList) -> list[list[int]]:
        ids, mask = self.pad([[*prompt, self.base.special.eos] for prompt in prompts], left=False)
        out = self._generate(ids, mask, drawn)
        return [row.tolist()[1:] for row in out]  # without the decoder's start token

    def _bears_company(self) -> bool:
        return True  # an encoder's padding is masked
