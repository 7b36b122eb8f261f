"""Decoding for many adapters at once, with one prefill a dialogue.

All turns of a dialogue share its prefix: the whole dialogue goes through the model once, and each
turn's row starts from a copy of the keys and values in front of its response. Rows of all slots
then advance together, one token a pass; finished ones are dropped as they fall below half.
Slots with the same adapter and text share the prefill too. Beam and contrastive search branch off
it, slot by slot.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from trainable.corpus.encode import Window
from trainable.corpus.losses import Scored
from trainable.engine.decode.beam import Beams
from trainable.engine.decode.branches import LOGIT_ROWS, Branches, PrefixCache, Shaper
from trainable.engine.decode.contrastive import ContrastiveSearch
from trainable.engine.decode.row_cache import pad_prefixes
from trainable.engine.decode.rows import BRANCHING, Batch, count_columns, group_rows, list_rows
from trainable.engine.decode.sampling import Chooser, RowKey
from trainable.engine.decode.token_pass import Forward, TokenPass
from trainable.engine.layers.blocks import Blocks
from trainable.engine.layers.layout import Layout
from trainable.engine.layers.output import Output
from trainable.engine.layers.passes import PackedTokens, pack_windows
from trainable.model.special_ids import SpecialIds, cut_at
from trainable.trial import TrialConfig

# tokens between looks at which rows have finished: a GPU has to be waited for
COMPACT_EVERY = {"cpu": 4, "cuda": 8}


@dataclass
class SlotOutput:
    """What one slot got of a decoding."""

    replies: dict[tuple[str, int], list[int]] = field(default_factory=dict)  # (dialogue, turn)
    scored: list[Scored] = field(default_factory=list)  # its windows, with their targets' loss

    @property
    def nats(self) -> float:
        """The summed loss over the windows' targets."""
        return float(sum(losses.sum() for _, losses in self.scored))

    @property
    def targets(self) -> int:
        return sum(len(losses) for _, losses in self.scored)

    def add(self, other: SlotOutput) -> None:
        self.replies |= other.replies
        self.scored += other.scored


class Decoder:
    """Generates for the slots of one inference range, whose adapters are in place."""

    def __init__(
        self,
        forward: Forward,
        output: Output,
        special: SpecialIds,
        relayout: Callable[[Layout | Blocks], None],
        *,
        is_recorded: bool,
    ) -> None:
        self.forward = forward
        self.output = output
        self.special = special
        self.is_recorded = is_recorded  # passes of one token a row
        self.is_ready = False  # such have run in this engine
        self.relayout = relayout  # tells the adapters which rows belong to which slot
        self.advance: Callable[[int], object] = lambda replies: None  # hears of those made
        self.device = output.weight.device

    @torch.no_grad()
    def decode(
        self,
        windows: Sequence[Sequence[Window]],
        configs: Sequence[TrialConfig],
        leaders: Sequence[int],
        ends: Sequence[int],
    ) -> list[SlotOutput]:
        """Responses to all turns of all windows of each slot, each closed by the slot's own token
        of `ends`. A slot whose leader is another one has no windows here, and decodes its
        leader's."""
        specials = [replace(self.special, eos=end) for end in ends]
        tokens = pack_windows(windows, self.device)
        self.relayout(tokens.layout)
        rows = list_rows(windows, leaders)
        tokens.packing.kept = [] if rows else None  # else only the loss is asked for
        hidden = self.forward(tokens.ids, tokens.positions, tokens.packing)[0]
        scored = self._score_targets(tokens, hidden, windows)
        outputs = [SlotOutput(scored=list(scored[leader])) for leader in leaders]
        flat = [window for group in windows for window in group]
        groups = group_rows(rows, configs)
        for number, rows in enumerate(groups, start=1):
            assert tokens.packing.kept is not None
            # the last one frees the prefill as it copies it
            kept = tokens.packing.kept if number == len(groups) else list(tokens.packing.kept)
            extra = max(count_columns(configs[row.reader]) for row in rows)
            is_branching = configs[rows[0].reader].decoding in BRANCHING
            batch = Batch.start(rows, tokens, hidden, kept, extra, is_branching=is_branching)
            keys = [
                RowKey(r.reader, r.dialogue_id, r.turn, flat[r.window].ids[: r.prefix])
                for r in rows
            ]
            if is_branching:
                reader = rows[0].reader
                shaping = configs[reader], specials[reader]
                search = self._open_search(batch, keys, *shaping, tokens, hidden)
                replies = [cut_at(reply, ends[reader]) for reply in search.search(batch.hidden)]
                self.advance(len(replies))
                del search
            else:
                replies = self._generate(batch, Chooser(configs, specials), keys)
            del batch  # before the next one takes its place
            for row, reply in zip(rows, replies, strict=True):
                outputs[row.reader].replies[row.dialogue_id, row.turn] = reply
        return outputs

    def _open_search(
        self,
        batch: Batch,
        keys: list[RowKey],
        config: TrialConfig,
        special: SpecialIds,
        tokens: PackedTokens,
        hidden: Tensor,
    ) -> Beams | ContrastiveSearch:
        """The beam or contrastive search of one slot's rows, behind a prefill's hidden states
        [tokens, width]."""
        slot = batch.rows[0].slot

        def grow(ids: Tensor, positions: Tensor, branches: Branches) -> Tensor:
            """With this slot's adapter: [rows, branches] -> [rows, branches, width]."""
            counts = [0] * batch.n_slots
            counts[slot] = ids.numel()
            self.relayout(Layout.of(counts, self.device))
            return self.forward(ids, positions, branches)

        prefix = PrefixCache(batch, keys, grow)
        shaper = Shaper(config, prefix, special)
        if config.decoding == "beam":
            return Beams(prefix, config, shaper, self.output)
        context = hidden[pad_prefixes(batch.find_prompts(tokens), batch.lengths)]
        return ContrastiveSearch(prefix, config, shaper, self.output, context)

    def _generate(self, batch: Batch, chooser: Chooser, keys: list[RowKey]) -> list[list[int]]:
        replies: list[list[int]] = [[] for _ in batch.rows]
        chooser.begin(keys, self.device)
        chosen: list[tuple[Tensor, Tensor]] = []  # (original rows, their tokens) of each pass
        hidden = batch.hidden
        token_pass = TokenPass(
            self.forward, batch, self.relayout, is_recorded=self.is_recorded, is_ready=self.is_ready
        )
        while True:
            self._choose(hidden, batch.step, chooser)
            chosen.append((batch.origin, chooser.last))
            batch.finished |= chooser.last == chooser.ends
            batch.step += 1
            if batch.step == batch.max_new:
                break
            if batch.step % COMPACT_EVERY[self.device.type] == 0:
                under_way = len(batch.finished)
                if batch.drop_finished(chooser):
                    break
                self.advance(under_way - len(batch.finished))
            hidden = token_pass.run(chooser.last)
        self.is_ready = True
        self.advance(len(batch.finished))
        for origin, tokens in chosen:
            for row, token in zip(origin.tolist(), tokens.tolist(), strict=True):
                replies[row].append(token)
        readers = [row.reader for row in batch.rows]
        return [
            cut_at(reply[: chooser.configs[reader].max_new_tokens], chooser.specials[reader].eos)
            for reply, reader in zip(replies, readers, strict=True)
        ]

    def _choose(self, hidden: Tensor, step: int, chooser: Chooser) -> None:
        """The next token of every row, from the hidden states [rows, width] before it."""
        parts = []
        for start in range(0, len(hidden), LOGIT_ROWS):
            logits = self.output.scores(hidden[start : start + LOGIT_ROWS])
            parts.append(chooser.choose(logits, start, step))
        chooser.append(torch.cat(parts))

    def _score_targets(
        self, tokens: PackedTokens, hidden: Tensor, windows: Sequence[Sequence[Window]]
    ) -> list[list[Scored]]:
        """Each slot's windows with their targets' loss in nats, [targets] a window; `hidden`
        [tokens, width]."""
        parts = []
        for start in range(0, len(tokens.labels), LOGIT_ROWS):
            part = slice(start, start + LOGIT_ROWS)
            logits = self.output.scores(hidden[tokens.before_targets[part]])
            labels = tokens.labels[part]
            parts.append(torch.nn.functional.cross_entropy(logits, labels, reduction="none"))
        nats = torch.cat(parts).double().cpu().numpy() if parts else np.empty(0)
        ends = np.cumsum([len(window.targets) for group in windows for window in group])
        of_windows = iter(np.split(nats, ends[:-1]))
        return [[(window, next(of_windows)) for window in group] for group in windows]
