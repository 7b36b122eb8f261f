"""The device's side of an engine: the passes that its slots make together."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from trainable.engine.check.check import SelfCheck
from trainable.engine.decode.replies import Generation, GenerationRequest, generate
from trainable.engine.device.memory import (
    MemoryBudget,
    afford_slots,
    describe_device,
    give_back_memory,
    peak_gib,
)
from trainable.engine.device.recording import can_record
from trainable.engine.device.transfer import Pace
from trainable.engine.layers.adapters import Adapters
from trainable.engine.layers.attention import Cached, Packing
from trainable.engine.layers.backbone import open_backbone, run_sample
from trainable.engine.layers.fusion import fuse
from trainable.engine.layers.lora import shape_of
from trainable.engine.layers.output import Output
from trainable.engine.layers.recompute import begin_recomputing, end_recomputing
from trainable.engine.slot_table import SlotTable
from trainable.engine.slots.bank import SlotBank, count_slot_bytes
from trainable.engine.slots.data_order import Piece
from trainable.engine.slots.peft_format import shape_adapter
from trainable.engine.slots.rows import SlotRange
from trainable.engine.slots.slot import Slot, SlotState, copy_rows
from trainable.engine.slots.task import Tasks
from trainable.engine.train.loss import TargetLoss
from trainable.engine.train.meter import Meter
from trainable.engine.train.train_pass import Load, TrainPass
from trainable.model.base import Base
from trainable.model.modules import list_linear_paths
from trainable.model.precision import name_dtype
from trainable.result import Resolved, ValidationRequest
from trainable.trial import DEFAULTS, TrialConfig, TrialFailed


class Pack(SlotTable):
    """Slots over one base model. Not thread-safe: the engine's thread owns it."""

    def __init__(
        self,
        base: Base,
        slots: int | None,
        max_rank: int,
        pass_tokens: int | None = None,
        gpu_share: float = 1.0,
        dialogue_tokens: int = DEFAULTS["max_length_tokens"],
    ) -> None:
        """`slots`: None for as many as take a modest share of the memory.
        `pass_tokens`: of a training pass, shared evenly by the slots that train; None: by the
        memory. `gpu_share`: what part of a GPU's memory is this pack's, in (0, 1].
        `dialogue_tokens`: of the longest that will be read. Raises CannotPack where the engine does
        not compute this model as transformers does."""
        tokens = min(dialogue_tokens, base.positions or dialogue_tokens)
        check = None if base.key is None else SelfCheck(base, tokens, max_rank)
        self.base = base
        self.device = base.device
        self.model: Any = base.model
        self.run_backbone = open_backbone(self.model)
        # training passes, to sizes that come again
        self.pads_to_bucket = self.device.type == "cuda"
        is_compiled = self.device.type == "cuda" and not fuse(self.model, self.run_backbone)
        self.paths = list_linear_paths(self.model)
        shapes = {path: shape_of(self.model.get_submodule(path)) for path in self.paths}
        is_fp16 = base.compute_dtype == torch.float16
        slot_bytes = count_slot_bytes(shapes.values(), max_rank)
        slots = slots or afford_slots(slot_bytes, self.device, gpu_share)
        bank = SlotBank(shapes, slots, max_rank, self.device, is_fp16=is_fp16)
        super().__init__(bank, Adapters(bank, self.model))
        self.adapters.join_siblings(partial(run_sample, self.model, self.run_backbone))
        self.train_together = TrainPass(
            self.add_gradients, can_record(base, training=True), is_compiled
        )
        self.pace, self.meter = Pace(self.device), Meter()
        sizes = self.model.config.get_text_config()
        self.memory = MemoryBudget(sizes, base.compute_dtype, self.device, gpu_share, pass_tokens)
        self.tasks = Tasks(base)
        self.at_work: list[str] = []  # the trials of the training pass under way
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
            trainable_params=0 if slot.order is None else self.bank.layout.count(slot.shape),
            total_params=self.base.total_params,
            base_residency=self.base.residency,
            compute=name_dtype(self.base.compute_dtype),
            execution="packed" if len(self.rows) > 1 else "solo",
            device=describe_device(self.device),
            base=self.base.identity,
        )

    def train_pass(self, slots: Sequence[Slot]) -> None:
        """One pass, forward and backward, over a piece of each slot's step; several where not
        every slot can bring a whole dialogue to one."""
        slots, together = self.gather(slots), max(1, self.memory.pass_tokens // self.longest())
        for low in range(0, len(slots), together):
            high = min(low + together, len(slots))
            self._train_together(slots[low:high], SlotRange(low, high))

    def _train_together(self, slots: Sequence[Slot], span: SlotRange) -> None:
        """The slots of these rows of the bank."""
        started_s, recorded_s = time.perf_counter(), self.train_together.recording_s
        self.at_work = [slot.key for slot in slots]
        for row, slot in enumerate(slots, start=span.low):
            if slot.is_forking:
                self.meter.read()
                slot.stable_run = copy_rows(slot, self.bank, row)()
        pieces = [slot.next_piece(self.memory.pass_tokens // len(slots)) for slot in slots]
        nats = self._run(slots, pieces, span)
        settings = [slot.settings(piece) for slot, piece in zip(slots, pieces, strict=True)]
        norms = self.optimizer.step(span, settings)
        self.pace.keep()
        train_s = time.perf_counter() - started_s
        self._charge(train_s, self.train_together.recording_s - recorded_s)
        for slot, piece in zip(slots, pieces, strict=True):
            slot.advance(piece)
        self.meter.keep(slots, settings, nats, norms)

    def _charge(self, train_s: float, recording_s: float = 0.0) -> None:
        """The trials of the pass under way share the time."""
        for slot in (self.slots[key] for key in self.at_work if key in self.slots):
            slot.train_s += train_s / len(self.at_work)
            slot.recording_s += recording_s / len(self.at_work)

    def _run(self, slots: Sequence[Slot], pieces: Sequence[Piece], span: SlotRange) -> Tensor:
        """Adds the gradient of each slot's piece to the slot's row; the pieces' parts of their
        steps' losses [slots], in nats."""
        load = Load.of(slots, pieces, span.low, self.bank, pads=self.pads_to_bucket)
        nats = self.train_together.run(load)
        of = load.tokens.target_slots
        sums = torch.zeros(len(slots), device=self.device)
        return sums.index_add_(0, of, nats[: len(of)])

    def add_gradients(self, load: Load) -> Tensor:
        """To the bank's rows, of a load's weighted losses; those losses [targets], in nats."""
        tokens = load.tokens
        dtype = self.base.compute_dtype
        self.adapters.begin_training(
            load.span, load.modules, tokens.layout, load.dropout, load.noise, dtype
        )
        hidden = self.forward(tokens.ids, tokens.positions, tokens.packing)[0]
        before = hidden.index_select(0, tokens.before_targets)
        scaled = load.weights if load.scaled is None else load.scaled
        loss, nats = TargetLoss.apply(before, self.output(), tokens.labels, scaled)
        loss.backward()
        return nats * load.weights

    def generate(self, asked: Sequence[tuple[Slot, ValidationRequest]]) -> dict[str, Generation]:
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

    def shrink(self, slots: int) -> None:
        self.meter.read()
        super().shrink(slots)
        self.restore_passes()
        self.memory.measure()

    def shrink_passes(self) -> bool:
        """After a training pass ran out of memory: the steps under way begin anew in passes half
        as large, or, where a dialogue alone is too large, without keeping what layers can make
        again. False: they cannot be smaller."""
        self.free_memory()
        self.meter.read()
        self.bank.grads.zero_()
        for slot in self.slots.values():
            slot.restart_step()
        return self.memory.halve_passes(self.longest()) or begin_recomputing(self.model)

    def restore_passes(self) -> None:
        """The trial that was too large is out."""
        self.free_memory()
        self.memory.restore_passes()
        end_recomputing(self.model)

    def shrink_cache(self) -> bool:
        """The same after generating did."""
        self.free_memory()
        return self.memory.halve_cache(self.longest())

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

    def _make_slot(self, key: str, config: TrialConfig) -> Slot:
        task = self.tasks.of(config)
        order = None
        if config.method == "lora":
            order = task.order(config)
        elif config.method != "none":
            raise TrialFailed(f"method={config.method} cannot be packed: it runs alone")
        shape = shape_adapter(config, self.paths, self.model)
        if not self.bank.has_room(shape):  # a clone of another
            self.adapters.invalidate()
            self.train_together.forget()
            self.bank.grow(shape)
        return Slot(
            key=key, config=config, task=task, shape=shape, order=order, base=self.base.identity
        )
