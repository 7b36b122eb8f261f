"""The device's side of an engine: the slots' rows, and the passes they make together."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from trainable.engine.check.check import SelfCheck
from trainable.engine.decode.replies import Generation, GenerationRequest, generate
from trainable.engine.device.memory import afford_cache, afford_pass, give_back_memory, peak_gib
from trainable.engine.device.recording import can_record
from trainable.engine.device.transfer import Pace
from trainable.engine.layers.adapters import Adapters
from trainable.engine.layers.attention import Cached, Packing
from trainable.engine.layers.backbone import open_backbone
from trainable.engine.layers.blocks import Blocks
from trainable.engine.layers.fusion import fuse
from trainable.engine.layers.lora import shape_of
from trainable.engine.layers.output import Output
from trainable.engine.layers.passes import make_dropout, pack_windows, target_weights
from trainable.engine.slots.bank import SlotBank, SlotRange
from trainable.engine.slots.data_order import DataOrder, Piece
from trainable.engine.slots.optimizer import SlotOptimizer
from trainable.engine.slots.peft_format import load_adapter, shape_adapter
from trainable.engine.slots.slot import Slot, SlotState, copy_rows, put_state, restore_slot
from trainable.engine.slots.task import Tasks
from trainable.engine.train.loss import TargetLoss
from trainable.engine.train.meter import Meter
from trainable.engine.train.train_pass import Load, TrainPass
from trainable.model.base import Base
from trainable.model.modules import list_linear_paths
from trainable.result import Resolved
from trainable.trial import TrialConfig, TrialFailed


class Pack:
    """Slots over one base model. Not thread-safe: the engine's thread owns it."""

    def __init__(
        self,
        base: Base,
        slots: int,
        max_rank: int,
        pass_tokens: int | None = None,
        gpu_share: float = 1.0,
        dialogue_tokens: int = TrialConfig.max_length_tokens,
    ) -> None:
        """`pass_tokens`: of a training pass, shared evenly by the slots that train; None: by the
        memory. `gpu_share`: what part of a GPU's memory is this pack's, in (0, 1].
        `dialogue_tokens`: of the longest that will be read. Raises CannotPack where the engine does
        not compute this model as transformers does."""
        check = None if base.key is None else SelfCheck(base, dialogue_tokens, max_rank)
        self.base = base
        self.device = base.device
        self.model: Any = base.model
        self.run_backbone = open_backbone(self.model)
        # training passes, to sizes that come again
        self.pads_to_bucket = self.device.type == "cuda"
        is_compiled = self.device.type == "cuda" and not fuse(self.model, self.run_backbone)
        self.paths = list_linear_paths(self.model)
        shapes = {path: shape_of(self.model.get_submodule(path)) for path in self.paths}
        self.bank = SlotBank(shapes, slots, max_rank, self.device)
        self.adapters = Adapters(self.bank, self.model)
        self.optimizer = SlotOptimizer(self.bank)
        self.train_together = TrainPass(
            self.add_gradients, can_record(base, training=True), is_compiled
        )
        self.pace, self.meter = Pace(self.device), Meter()
        self.afforded_tokens = self.pass_tokens = pass_tokens or afford_pass(
            self.model.config, self.device, gpu_share
        )
        self.gpu_share = gpu_share
        self.tasks = Tasks(base)
        self.slots: dict[str, Slot] = {}
        self.rows: list[str | None] = [None] * slots  # bank row -> key
        self.at_work: list[str] = []  # the trials of the training pass under way
        self.cache_cut: float = 1  # more once memory ran out for keys and values
        self.has_generated = False  # a token a row: what such passes compile is there
        if check is not None:
            check.finish(self)

    def join(self, key: str, config: TrialConfig, state: SlotState | None) -> Resolved:
        if None not in self.rows:
            raise TrialFailed(f"all {len(self.rows)} slots of the engine are taken")
        slot = self._make_slot(key, config)
        self.place(slot, state)
        return Resolved(
            modules=slot.shape.modules,
            trainable_params=self._count_trainable(slot),
            total_params=self.base.total_params,
            base_residency=self.base.residency,
            execution="packed" if len(self.rows) > 1 else "solo",
            device=describe_device(self.device),
            base=self.base.identity,
        )

    def place(self, slot: Slot, state: SlotState | None = None) -> None:
        """Fills a free row with the slot's adapter: new, brought along, or from a checkpoint."""
        row = self.rows.index(None)
        self.bank.initialise(row, slot.shape, slot.config.seed)
        if state is not None:
            restore_slot(slot, self.bank, row, state)
        elif slot.config.adapter is not None:
            load_adapter(slot.config, slot.shape, slot.base, self.bank, row)
        self.slots[slot.key], self.rows[row] = slot, slot.key
        self.adapters.invalidate()

    def leave(self, key: str) -> None:
        if self.slots.pop(key, None) is None:
            return
        row = self.rows.index(key)
        self.rows[row] = None
        self.bank.clear(row)
        self.optimizer.is_broken[row] = False
        self.adapters.invalidate()

    def aim(self, key: str, turns: int) -> None:
        """Sets a slot's next goal. Where the rate has decayed towards the last one (wsd), the
        slot goes on from where that decay began: a milestone is a branch off one stable run."""
        slot = self.slots[key]
        slot.goal_turns = turns
        if slot.stable_run is not None and slot.turns_seen < turns:
            put_state(slot, self.bank, self.rows.index(key), slot.stable_run)

    def copy_state(self, key: str) -> SlotState:
        return self.copy_rows(key)()

    def copy_rows(self, key: str) -> Callable[[], SlotState]:
        return copy_rows(self.slots[key], self.bank, self.rows.index(key))

    def train_pass(self, slots: Sequence[Slot]) -> None:
        """One pass, forward and backward, over a piece of each slot's step; several where not
        every slot can bring a whole dialogue to one."""
        slots, together = self.gather(slots), max(1, self.pass_tokens // self.longest())
        for low in range(0, len(slots), together):
            high = min(low + together, len(slots))
            self._train_together(slots[low:high], SlotRange(low, high))

    def _train_together(self, slots: Sequence[Slot], span: SlotRange) -> None:
        """The slots of these rows of the bank."""
        started_s = time.perf_counter()
        self.at_work = [slot.key for slot in slots]
        for row, slot in enumerate(slots, start=span.low):
            if slot.is_forking:
                self.meter.read()
                slot.stable_run = copy_rows(slot, self.bank, row)()
        pieces = [slot.next_piece(self.pass_tokens // len(slots)) for slot in slots]
        nats = self._run(slots, pieces, span)
        settings = [slot.settings(piece) for slot, piece in zip(slots, pieces, strict=True)]
        norms = self.optimizer.step(span, settings)
        self.pace.keep()
        self._charge(time.perf_counter() - started_s)
        for slot, piece in zip(slots, pieces, strict=True):
            slot.advance(piece)
        self.meter.keep(slots, settings, nats, norms)

    def _charge(self, train_s: float) -> None:
        """The trials of the pass under way share the time."""
        for slot in (self.slots[key] for key in self.at_work if key in self.slots):
            slot.train_s += train_s / len(self.at_work)

    def gather(self, slots: Sequence[Slot]) -> list[Slot]:
        """Moves the slots' rows to the front of the bank; the slots in the order of their rows."""
        wanted = {slot.key for slot in slots}
        waiting = [row for row, key in enumerate(self.rows) if key in wanted and row >= len(slots)]
        for row in range(len(slots)):
            if self.rows[row] not in wanted:
                self._swap(row, waiting.pop())
        return [self.slots[str(key)] for key in self.rows[: len(slots)]]

    def _swap(self, one: int, other: int) -> None:
        self.bank.swap(one, other)
        self.optimizer.swap(one, other)
        self.rows[one], self.rows[other] = self.rows[other], self.rows[one]
        self.adapters.invalidate()

    def _run(self, slots: Sequence[Slot], pieces: Sequence[Piece], span: SlotRange) -> Tensor:
        """Adds the gradient of each slot's piece to the slot's row; the pieces' parts of their
        steps' losses [slots], in nats."""
        windows = [[draw.window for draw in piece.draws] for piece in pieces]
        configs = [slot.config for slot in slots]
        tokens = pack_windows(windows, self.device, pads_to_bucket=self.pads_to_bucket)
        dropout = make_dropout(configs, pieces, tokens.layout.counts, self.device)
        weights = target_weights(pieces, tokens)
        if isinstance(tokens.layout, Blocks):  # of the whole bank: passes are of fewer kinds
            layout = tokens.layout.place(span.low, self.bank.slots)
            tokens, span = replace(tokens, layout=layout), SlotRange(0, self.bank.slots)
        modules = tuple(self.bank.used_modules(span))
        nats = self.train_together.run(Load(span, tokens, weights, dropout, modules))
        sums = torch.zeros(len(slots), device=self.device)
        return sums.index_add_(0, tokens.target_slots, nats[: len(tokens.target_slots)])

    def add_gradients(self, load: Load) -> Tensor:
        """To the bank's rows, of a load's weighted losses; those losses [targets], in nats."""
        tokens = load.tokens
        dtype = self.base.compute_dtype
        self.adapters.begin_training(load.span, load.modules, tokens.layout, load.dropout, dtype)
        hidden = self.forward(tokens.ids, tokens.positions, tokens.packing)[0]
        before = hidden.index_select(0, tokens.before_targets)
        loss, nats = TargetLoss.apply(before, self.output(), tokens.labels, load.weights)
        loss.backward()
        return nats * load.weights

    def generate(
        self, asked: Sequence[GenerationRequest | tuple[Slot, str, int]]
    ) -> dict[str, Generation]:
        """Each trial's replies, all trials decoded together, and its loss on the corpus's own."""
        with torch.compiler.set_stance("force_eager"):  # shapes change with every finished row
            return generate(self, [GenerationRequest(*a) for a in asked])

    def broken_slots(self) -> list[Slot]:
        """Slots whose gradient was not finite: they have not been stepped since. Waits for the
        pass under way, whose time this is."""
        started_s = time.perf_counter()
        broken = self.optimizer.is_broken.tolist()
        self.meter.read()
        self._charge(time.perf_counter() - started_s)
        keys = [key for key, is_broken in zip(self.rows, broken, strict=True) if is_broken]
        return [self.slots[key] for key in keys if key is not None]

    def shrink_passes(self) -> bool:
        """After a training pass ran out of memory: the steps under way begin anew in passes half
        as large. False: they cannot be smaller."""
        self.free_memory()
        self.meter.read()
        self.bank.grads.zero_()
        for slot in self.slots.values():
            slot.restart_step()
        if self.pass_tokens < self.longest():
            return False
        self.pass_tokens //= 2
        return True

    def shrink_cache(self) -> bool:
        """The same after generating did."""
        self.free_memory()
        if self.room_tokens() < self.longest():
            return False
        self.cache_cut *= 2
        return True

    def free_memory(self) -> None:
        self.adapters.invalidate()
        self.train_together.forget()
        give_back_memory()

    def peak_gib(self) -> float:
        return peak_gib(self.device)

    def forward(self, ids: Tensor, positions: Tensor, packing: Packing | Cached) -> Tensor:
        """The hidden states [rows, tokens, width] after the last layer, normed."""
        out = self.run_backbone(ids, positions, packing)
        hidden: Tensor = out.last_hidden_state
        return hidden

    def output(self) -> Output:
        return Output.of(self.model)

    def longest(self) -> int:
        return max(slot.config.max_length_tokens for slot in self.slots.values())

    def _make_slot(self, key: str, config: TrialConfig) -> Slot:
        task = self.tasks.of(config)
        order = None
        if config.method == "lora":
            assert config.batch_turns is not None
            order = DataOrder(task.train, config.batch_turns, config.seed)
        elif config.method != "none":
            raise TrialFailed(f"method={config.method} cannot be packed: it runs alone")
        shape = shape_adapter(config, self.paths, self.model)
        if shape.rank > self.bank.layout.rank:  # a clone of a rank that the space does not know
            self.adapters.invalidate()
            self.train_together.forget()
            self.bank.grow(shape.rank)
        return Slot(
            key=key,
            config=config,
            task=task,
            shape=shape,
            order=order,
            base=self.base.identity,
        )

    def _count_trainable(self, slot: Slot) -> int:
        if slot.order is None:
            return 0
        shapes = (self.bank.layout.shapes[name] for name in slot.shape.modules)
        return sum(shape.count(slot.shape.rank) for shape in shapes)

    def room_tokens(self) -> int:
        """How many tokens' keys and values may be kept at a time while generating."""
        sizes, dtype = self.model.config, self.base.compute_dtype
        tokens = afford_cache(sizes, dtype, self.device, self.gpu_share)
        return int(tokens / self.cache_cut)


def describe_device(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
