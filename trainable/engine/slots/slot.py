"""One trial inside an engine: where it stands, and its checkpoint in peft's format."""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from trainable.engine.device.transfer import fetch, zeros_to_send
from trainable.engine.slots.bank import AdapterShape, RowLayout, SlotBank
from trainable.engine.slots.data_order import DataOrder, Draw, Piece, cut_step
from trainable.engine.slots.optimizer import StepSettings, is_decaying, learning_rate_at
from trainable.engine.slots.task import Task
from trainable.model.selections import select_paths
from trainable.storage.adapter import read_adapter_config
from trainable.trial import ConfigError, TrialConfig

PEFT_PREFIX = "base_model.model."
MOMENTS = ("exp_avg", "exp_avg_sq")  # AdamW's; where nothing is trained there are none
TRUNK = "trunk"  # in a checkpoint: the checkpoint that the next milestone goes on from


@dataclass
class Slot:
    """The host's side of a bank row."""

    key: str
    config: TrialConfig
    task: Task
    shape: AdapterShape
    order: DataOrder | None  # None: nothing is trained
    turns_seen: int = 0
    steps: int = 0
    tokens_seen: int = 0
    train_s: float = 0.0  # engine seconds, shared evenly by the slots of each pass
    goal_turns: int = 0
    trunk: SlotState | None = None  # wsd: the stable run, left where the decay to the goal began
    draws: list[Draw] = field(default_factory=list)  # of the step under way
    pieces: deque[Piece] = field(default_factory=deque)  # of it, still to be passed

    @property
    def is_training(self) -> bool:
        """Goals are met at step borders, so that a checkpoint never holds half a step."""
        return self.order is not None and (bool(self.draws) or self.turns_seen < self.goal_turns)

    @property
    def is_forking(self) -> bool:
        """Whether the next step is the first that decays towards the goal."""
        is_open = self.order is not None and not self.draws and self.trunk is None
        return is_open and is_decaying(self.config, self.turns_seen, self.goal_turns)

    def next_piece(self, pass_tokens: int) -> Piece:
        """What this slot brings to the next pass; `advance` takes it off."""
        assert self.order is not None
        if not self.draws:
            self.draws = self.order.next_step()
        if not self.pieces:
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
    trained: dict[str, Tensor]  # KIND.NAME: AdamW's moments, the last weights if others are scored
    trainer: dict[str, Any]
    trunk: SlotState | None = None

    def write(self, folder: Path) -> None:
        """adapter_config.json and adapter_model.safetensors as peft writes them, and the trainer's
        state beside them; the trunk likewise, in a folder of its own. Random numbers are functions
        of the seed and the place in the data order, so nothing else is needed."""
        folder.mkdir(parents=True, exist_ok=True)
        save_file(self.adapter, folder / "adapter_model.safetensors", metadata={"format": "pt"})
        write_json(folder / "adapter_config.json", self.adapter_config)
        save_file(self.trained, folder / "optimizer.safetensors")
        write_json(folder / "trainer.json", self.trainer)
        if self.trunk is not None:
            self.trunk.write(folder / TRUNK)

    @classmethod
    def read(cls, folder: Path) -> SlotState:
        """What `write` wrote."""
        return cls(
            adapter=load_file(folder / "adapter_model.safetensors"),
            adapter_config=read_adapter_config(folder),
            trained=load_file(folder / "optimizer.safetensors"),
            trainer=json.loads((folder / "trainer.json").read_text()),
            trunk=cls.read(folder / TRUNK) if (folder / TRUNK).is_dir() else None,
        )


def write_json(path: Path, values: dict[str, Any]) -> None:
    path.write_text(json.dumps(values, indent=1) + "\n")


def copy_rows(slot: Slot, bank: SlotBank, row: int) -> Callable[[], SlotState]:
    """The slot as it stands at a step border, in two parts: the device's rows are copied in their
    turn, in one piece a kind; to wait for them and to cut them up is left to whoever calls what is
    returned."""
    trained_kinds = list_trained(slot)
    kinds = ("average", *trained_kinds)
    fetched = fetch([getattr(bank, kind)[row : row + 1] for kind in kinds])
    layout, shape, trunk = bank.layout, slot.shape, slot.trunk  # the bank may grow meanwhile
    adapter_config = peft_config(slot)
    trainer = {
        "turns_seen": slot.turns_seen,
        "steps": slot.steps,
        "position": 0 if slot.order is None else slot.order.position,
        "tokens_seen": slot.tokens_seen,
        "train_s": slot.train_s,
        "config": slot.config.to_dict(),
    }

    def cut_up() -> SlotState:
        lines = dict(zip(kinds, fetched(), strict=True))
        adapter = dict(_named(shape, layout, lines["average"]))
        trained = {
            f"{kind}.{name}": value
            for kind in trained_kinds
            for name, value in _named(shape, layout, lines[kind])
        }
        return SlotState(adapter, adapter_config, trained, trainer, trunk)

    return cut_up


def list_trained(slot: Slot) -> tuple[str, ...]:
    """The bank's rows that training goes on from, beside the weights that are scored."""
    if slot.order is None:
        return ()
    return ("params", *MOMENTS) if slot.config.averaging else MOMENTS


def restore_slot(slot: Slot, bank: SlotBank, row: int, state: SlotState) -> None:
    """Goes on from a checkpoint, in a slot of the same config."""
    put_state(slot, bank, row, state)
    slot.tokens_seen, slot.train_s = state.trainer["tokens_seen"], state.trainer["train_s"]


def put_state(slot: Slot, bank: SlotBank, row: int, state: SlotState) -> None:
    """The slot stands where it stood then; what it has cost since is not forgotten."""
    _put(slot, bank, bank.average, row, state.adapter)
    bank.params[row] = bank.average[row]
    for kind in list_trained(slot):
        prefix = f"{kind}."
        kept = state.trained.items()
        values = {k.removeprefix(prefix): v for k, v in kept if k.startswith(prefix)}
        _put(slot, bank, getattr(bank, kind), row, values)
    slot.turns_seen, slot.steps = state.trainer["turns_seen"], state.trainer["steps"]
    slot.trunk = state.trunk
    if slot.order is not None:
        slot.order.position = state.trainer["position"]


def load_adapter(slot: Slot, bank: SlotBank, row: int, folder: Path) -> None:
    """Starts a slot from an adapter in peft's format. Raises ConfigError when it does not fit."""
    _put(slot, bank, bank.params, row, load_file(folder / "adapter_model.safetensors"))
    bank.average[row] = bank.params[row]


def peft_config(slot: Slot) -> dict[str, Any]:
    """adapter_config.json. alpha is spelt so that peft, which divides it by the rank (or its
    root), arrives at the slot's scale."""
    shape, config = slot.shape, slot.config
    divisor = shape.rank**0.5 if config.rslora else shape.rank
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": config.base_model,
        "r": shape.rank,
        "lora_alpha": shape.scale * divisor,
        "lora_dropout": config.lora_dropout or 0.0,
        "use_rslora": bool(config.rslora),
        "target_modules": list(shape.modules),
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
    }


def shape_adapter(config: TrialConfig, paths: Sequence[str]) -> AdapterShape:
    """The adapter that a config asks for among the linear layers, or the one that it brings."""
    if config.method == "lora":
        assert config.lora_modules is not None and config.lora_rank is not None
        modules = select_paths(paths, config.lora_modules)
        return AdapterShape(modules, config.lora_rank, config.lora_scale)
    if config.adapter is None:
        return AdapterShape((), 0, 0.0)
    found = read_adapter_config(Path(config.adapter))
    rank, targets = int(found["r"]), found["target_modules"]
    if isinstance(targets, str):
        modules = tuple(path for path in paths if re.fullmatch(targets, path))
    else:
        modules = tuple(p for p in paths if any(p == t or p.endswith(f".{t}") for t in targets))
    divisor = rank**0.5 if found.get("use_rslora") else rank
    return AdapterShape(modules, rank, found["lora_alpha"] / divisor)


def _named(shape: AdapterShape, layout: RowLayout, line: Tensor) -> Iterator[tuple[str, Tensor]]:
    """A row's numbers [1, width] under peft's names, in its shapes: lora_A [rank, in], lora_B
    [out, rank]."""
    for module in shape.modules:
        a, b = layout.pair(line, module, 0)
        yield f"{PEFT_PREFIX}{module}.lora_A.weight", a[:, : shape.rank].T.contiguous()
        yield f"{PEFT_PREFIX}{module}.lora_B.weight", b[: shape.rank].T.contiguous()


@torch.no_grad()
def _put(slot: Slot, bank: SlotBank, rows: Tensor, row: int, values: dict[str, Tensor]) -> None:
    """Laid out on the host, and sent in one piece, behind what the device has to do."""
    rank = slot.shape.rank
    line = zeros_to_send((1, bank.layout.width), bank.device)
    for module in slot.shape.modules:
        a, b = bank.layout.pair(line, module, 0)
        for name, target in (("lora_A", a[:, :rank]), ("lora_B", b[:rank])):
            value = values.get(f"{PEFT_PREFIX}{module}.{name}.weight")
            if value is None or value.T.shape != target.shape:
                found = "is not there" if value is None else f"has shape {list(value.shape)}"
                raise ConfigError(
                    f"an adapter must fit its config's modules and rank {rank}: its "
                    f"{module}.{name} {found}; use the config that made it"
                )
            target.copy_(value.T)
    rows[row].copy_(line[0], non_blocking=True)
