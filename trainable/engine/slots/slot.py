"""One trial inside an engine: where it stands, and its checkpoint in peft's format."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from trainable.engine.device.transfer import fetch
from trainable.engine.slots.bank import SlotBank
from trainable.engine.slots.data_order import DataOrder, Draw, Piece, cut_step
from trainable.engine.slots.optimizer import StepSettings, is_decaying, learning_rate_at
from trainable.engine.slots.peft_format import name_tensors, put_tensors, spell_config
from trainable.engine.slots.rows import AdapterShape
from trainable.engine.slots.task import Task
from trainable.model.identity import KEY, check_identity
from trainable.storage.adapter import read_adapter_config
from trainable.system.whole import write_json
from trainable.training_curve import TrainingCurve
from trainable.trial import TrialConfig

MOMENTS = ("exp_avg", "exp_avg_sq")  # AdamW's; where nothing is trained there are none
SCALING = "scaling"  # of the loss in fp16; without a dot, so that it is no kind of row
STABLE_RUN = "trunk"  # in a checkpoint: the checkpoint that the next milestone goes on from


@dataclass
class Slot:
    """The host's side of a bank row."""

    key: str
    config: TrialConfig
    task: Task
    shape: AdapterShape
    order: DataOrder | None  # None: nothing is trained
    base: dict[str, Any] = field(default_factory=dict)  # the identity of the model it stands on
    turns_seen: int = 0
    steps: int = 0
    tokens_seen: int = 0
    train_s: float = 0.0  # engine seconds, shared evenly by the slots of each pass
    recording_s: float = 0.0  # of those, what recordings took
    goal_turns: int = 0
    stable_run: SlotState | None = None  # wsd: where the decay to the goal left it
    draws: list[Draw] = field(default_factory=list)  # of the step under way
    pieces: deque[Piece] = field(default_factory=deque)  # of it, still to be passed
    is_beginning: bool = True  # whether the latest piece is the first of its step
    curve: TrainingCurve = field(default_factory=TrainingCurve)
    step_nats: float = 0.0  # the loss of the step under way, as far as the host has read it

    @property
    def is_training(self) -> bool:
        """Goals are met at step borders, so that a checkpoint never holds half a step."""
        return self.order is not None and (bool(self.draws) or self.turns_seen < self.goal_turns)

    @property
    def is_forking(self) -> bool:
        """Whether the next step is the first that decays towards the goal."""
        is_open = self.order is not None and not self.draws and self.stable_run is None
        return is_open and is_decaying(self.config, self.turns_seen, self.goal_turns)

    def next_piece(self, pass_tokens: int) -> Piece:
        """What this slot brings to the next pass; `advance` takes it off."""
        assert self.order is not None
        if not self.draws:
            self.draws = self.order.next_step()
        self.is_beginning = not self.pieces
        if self.is_beginning:
            self.pieces.extend(cut_step(self.draws, pass_tokens))
        elif self.pieces[0].n_tokens > pass_tokens and len(self.pieces[0].draws) > 1:
            # it was cut when fewer slots shared a pass
            left = [draw for piece in self.pieces for draw in piece.draws]
            self.pieces = deque(cut_step(left, pass_tokens, self.pieces[0].batch_targets))
        return self.pieces[0]

    def settings(self, piece: Piece) -> StepSettings:
        if not piece.completes:
            return StepSettings(steps=False)
        assert self.config.weight_decay is not None and self.config.clip_norm is not None
        return StepSettings(
            steps=True,
            learning_rate=learning_rate_at(self.config, self.turns_seen, self.goal_turns),
            b_over_a=self.config.lora_plus_ratio or 1.0,
            frozen_from=self.shape.rank if self.shape.is_pissa else None,
            weight_decay=self.config.weight_decay,
            clip_norm=self.config.clip_norm,
            step=self.steps + 1,
            averaging=self.config.averaging or 0.0,
        )

    def advance(self, piece: Piece) -> None:
        self.pieces.popleft()
        self.tokens_seen += piece.n_tokens
        if piece.completes:
            self.steps += 1
            self.turns_seen += sum(draw.window.n_turns for draw in self.draws)
            self.draws = []

    def restart_step(self) -> None:
        """The step under way begins anew, its gradients having been cleared."""
        self.pieces.clear()

    def abandon(self) -> None:
        """No goal any more: the trial has failed or is leaving."""
        self.goal_turns = 0
        self.draws = []
        self.pieces.clear()


@dataclass(frozen=True)
class SlotState:
    """A copy of all that a trial needs to go on, on the host."""

    adapter: dict[str, Tensor]  # the averaged weights, under peft's names, in its shapes
    adapter_config: dict[str, Any]
    # KIND.NAME: AdamW's moments, the last weights if others are scored; the loss's scaling
    trained: dict[str, Tensor]
    trainer: dict[str, Any]
    stable_run: SlotState | None = None

    def write(self, folder: Path) -> None:
        """adapter_config.json and adapter_model.safetensors as peft writes them, and the trainer's
        state beside them; the stable run likewise, in a folder of its own. Random numbers are
        functions of the seed and the place in the data order, so nothing else is needed."""
        folder.mkdir(parents=True, exist_ok=True)
        save_file(self.adapter, folder / "adapter_model.safetensors", metadata={"format": "pt"})
        write_json(folder / "adapter_config.json", self.adapter_config)
        save_file(self.trained, folder / "optimizer.safetensors")
        write_json(folder / "trainer.json", self.trainer)
        if self.stable_run is not None:
            self.stable_run.write(folder / STABLE_RUN)

    @classmethod
    def read(cls, folder: Path) -> SlotState:
        """What `write` wrote."""
        return cls(
            adapter=load_file(folder / "adapter_model.safetensors"),
            adapter_config=read_adapter_config(folder),
            trained=load_file(folder / "optimizer.safetensors"),
            trainer=json.loads((folder / "trainer.json").read_text()),
            stable_run=cls.read(folder / STABLE_RUN) if (folder / STABLE_RUN).is_dir() else None,
        )


def copy_rows(slot: Slot, bank: SlotBank, row: int) -> Callable[[], SlotState]:
    """The slot as it stands at a step border, in two parts: the device's rows are copied in their
    turn, in one piece a kind; to wait for them and to cut them up is left to whoever calls what is
    returned."""
    trained_kinds = list_trained(slot)
    kinds = ("average", *trained_kinds, *((SCALING,) if bank.is_fp16 and trained_kinds else ()))
    fetched = fetch([getattr(bank, kind)[row : row + 1] for kind in kinds])
    layout, shape, stable_run = (
        bank.layout,
        slot.shape,
        slot.stable_run,
    )  # the bank may grow meanwhile
    adapter_config = spell_config(slot.config, slot.shape)
    trainer = {
        "turns_seen": slot.turns_seen,
        "steps": slot.steps,
        "position": 0 if slot.order is None else slot.order.position,
        "tokens_seen": slot.tokens_seen,
        "train_s": slot.train_s,
        "recording_s": slot.recording_s,
        "curve": slot.curve.to_dict(),
        "config": slot.config.to_dict(),
        KEY: slot.base,
    }

    def cut_up() -> SlotState:
        lines = dict(zip(kinds, fetched(), strict=True))
        adapter = dict(name_tensors(shape, layout, lines["average"]))
        trained = {
            f"{kind}.{name}": value
            for kind in trained_kinds
            for name, value in name_tensors(shape, layout, lines[kind])
        }
        if SCALING in lines:
            trained[SCALING] = lines[SCALING][0].clone()
        return SlotState(adapter, adapter_config, trained, trainer, stable_run)

    return cut_up


def list_trained(slot: Slot) -> tuple[str, ...]:
    """The bank's rows that training goes on from, beside the weights that are scored."""
    if slot.order is None:
        return ()
    return ("params", *MOMENTS) if slot.config.averaging else MOMENTS


def restore_slot(slot: Slot, bank: SlotBank, row: int, state: SlotState) -> None:
    """Goes on from a checkpoint, in a slot of the same config. Raises ConfigError where that was
    made on another base model."""
    check_identity(state.trainer.get(KEY, {}), slot.base, f"trial {slot.key}'s checkpoint")
    put_state(slot, bank, row, state)
    slot.tokens_seen, slot.train_s = state.trainer["tokens_seen"], state.trainer["train_s"]
    slot.recording_s = state.trainer.get("recording_s", 0.0)  # older checkpoints know none


def put_state(slot: Slot, bank: SlotBank, row: int, state: SlotState) -> None:
    """The slot stands where it stood then; what it has cost since is not forgotten."""
    put_tensors(slot.shape, bank, bank.average, row, state.adapter)
    bank.params[row] = bank.average[row]
    for kind in list_trained(slot):
        prefix = f"{kind}."
        kept = state.trained.items()
        values = {k.removeprefix(prefix): v for k, v in kept if k.startswith(prefix)}
        put_tensors(slot.shape, bank, getattr(bank, kind), row, values)
    if bank.is_fp16 and SCALING in state.trained:
        bank.scaling[row] = state.trained[SCALING].to(bank.device)
    slot.turns_seen, slot.steps = state.trainer["turns_seen"], state.trainer["steps"]
    slot.curve = TrainingCurve.from_dict(state.trainer.get("curve") or {})
    slot.stable_run = state.stable_run
    if slot.order is not None:
        slot.order.position = state.trainer["position"]
