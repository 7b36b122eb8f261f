"""A trial alone, by transformers itself: all weights trained, or a model that cannot be packed.

Full finetuning at 16 bits computes in bf16 over 32-bit weights: in bf16 alone, steps as small as a
finetuning's would round to nothing.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F
from torch.utils._pytree import tree_map
from transformers import LogitsProcessorList

from trainable.corpus.encode import Window
from trainable.engine.device.counter import combine
from trainable.engine.device.memory import give_back_memory, peak_gib
from trainable.engine.slots.data_order import DataOrder, cut_step
from trainable.engine.slots.optimizer import is_decaying, learning_rate_at
from trainable.engine.slots.task import Task, Tasks, group_by_dialogue
from trainable.evaluation.validation import Calibrated, Generated, Validation
from trainable.model.identity import KEY, check_identity
from trainable.model.packable import why_alone
from trainable.model.special_ids import cut_at
from trainable.result import Evaluation, Resolved, TrainerState
from trainable.solo.average import WeightAverage
from trainable.solo.company import bears_company
from trainable.solo.generate import (
    Prompt,
    choose_drawn,
    list_prompts,
    quiet_dropout,
    spell_generation,
)
from trainable.solo.model import load_weights, prepare
from trainable.system.activity import forget, tell
from trainable.system.gpu import recall_gpu
from trainable.training_curve import TrainingCurve, TrainingPoint
from trainable.trial import TrialConfig, TrialFailed

PASS_TOKENS = 4096
STABLE_RUN = "trunk.pt"
LAST = "last_weights.pt"  # of the last step, where the model's files hold an average
IGNORED = -100  # torch's label of what is no target


class PlainFinetuner:
    """See the Finetuner protocol."""

    def __init__(self, config: TrialConfig, base: Any, start: Path | None = None) -> None:
        self.config, self.base = config, base
        tasks = Tasks(base)
        tasks.prepare(config)
        self.task: Task = tasks.of(config)
        self.model, modules = prepare(config, base)
        self.device: torch.device = base.device
        trained = {n: p for n, p in self.model.named_parameters() if p.requires_grad}
        self.average = WeightAverage(trained, config.averaging or 0.0)
        self.optimizer: Any = None
        self.order: DataOrder | None = None
        if config.method != "none":
            assert config.batch_turns is not None and config.weight_decay is not None
            self.optimizer = torch.optim.AdamW(trained.values(), weight_decay=config.weight_decay)
            self.order = DataOrder(self.task.train, config.batch_turns, config.seed)
        self.turns, self.steps, self.tokens_seen = 0, 0, 0
        self.train_s, self.curve = 0.0, TrainingCurve()
        self.stable_run: dict[str, Any] | None = None  # as a slot's: the stable run of wsd
        self.is_one_a_time = not self._bears_company()
        self.rows_a_batch = 64 if self.device.type == "cuda" else 32
        if self.is_one_a_time:
            self.rows_a_batch = 1
        self.resolved = Resolved(
            modules=modules,
            trainable_params=sum(p.numel() for p in trained.values())
            if config.method != "none"
            else 0,
            total_params=base.total_params,
            base_residency=base.residency,
            execution=f"solo: {why_alone(config) or 'by transformers'}",
            device=torch.cuda.get_device_name() if self.device.type == "cuda" else "cpu",
            base=base.identity,
        )
        if start is not None:
            self._restore(start)

    def _bears_company(self) -> bool:
        with self.autocast():
            text = np.concatenate([window.ids for window in self.task.held_out("validation", 4)])
            return bears_company(self.model, self.pad, text.tolist())

    @property
    def turns_seen(self) -> int:
        return self.turns

    def train_until(self, turns: int) -> None:
        if self.stable_run is not None and self.turns < turns:
            self._return_to(self.stable_run)
        while self.order is not None and self.turns < turns:
            started_s = time.perf_counter()
            if self.stable_run is None and is_decaying(self.config, self.turns, turns):
                self.stable_run = self._copy_state()
            rate = learning_rate_at(self.config, self.turns, turns)
            nats, norm = self._step(rate)
            self.train_s += time.perf_counter() - started_s
            self.curve.add(self._describe_step(rate, nats, norm))
            tell("training", self.turns, turns, curve=self.curve)

    def _copy_state(self) -> dict[str, Any]:
        """What training goes on from, on the host."""
        assert self.order is not None
        weights = {"weights": self.average.trained, "average": self.average.values}
        state = {**weights, "optimizer": self.optimizer.state_dict()}
        place = {"turns": self.turns, "steps": self.steps, "position": self.order.position}
        return {**tree_map(copy_to_host, state), **place, "curve": self.curve.to_dict()}

    def _return_to(self, stable_run: dict[str, Any]) -> None:
        assert self.order is not None
        self.average.put(stable_run["weights"])
        self.average.values = copy_to(stable_run.get("average", {}), self.device)
        self.optimizer.load_state_dict(stable_run["optimizer"])
        self.turns, self.steps = stable_run["turns"], stable_run["steps"]
        self.curve = TrainingCurve.from_dict(stable_run.get("curve", {}))
        self.order.position, self.stable_run = stable_run["position"], None

    def _step(self, rate: float) -> tuple[float, float]:
        """The loss in nats a target token, and the gradient's norm before clipping."""
        assert self.order is not None and self.config.clip_norm is not None
        draws = self.order.next_step()
        # one stream of random numbers a step, so that a resumed trial goes on with the same
        torch.manual_seed(combine(self.config.seed, "dropout", self.steps))
        loss = torch.zeros((), device=self.device)
        for piece in cut_step(draws, PASS_TOKENS):
            nats, _ = self.sum_nats([draw.window for draw in piece.draws])
            part = nats / piece.batch_targets
            part.backward()
            loss += part.detach()
            self.tokens_seen += piece.n_tokens
        trained = [p for p in self.model.parameters() if p.requires_grad]
        norm = torch.nn.utils.clip_grad_norm_(trained, self.config.clip_norm)
        measured: list[float] = torch.stack((loss, norm.float())).tolist()  # the step's only wait
        if not math.isfinite(measured[1]):
            raise TrialFailed(
                f"the loss or its gradient is not finite after {self.turns} turns "
                f"(learning_rate={self.config.learning_rate})"
            )
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.turns += sum(draw.window.n_turns for draw in draws)
        self.steps += 1
        self.average.follow(self.steps)
        return measured[0], measured[1]

    def _describe_step(self, rate: float, nats: float, norm: float) -> TrainingPoint:
        return TrainingPoint(
            turns_seen=self.turns,
            steps=self.steps,
            loss_nats=nats,
            learning_rate=rate,
            gradient_norm=norm,
            tokens_seen=self.tokens_seen,
            train_s=self.train_s,
            **recall_gpu(),
        )

    def autocast(self) -> Any:
        is_mixed = self.config.method == "full" and self.config.quantisation == "bf16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=is_mixed)

    def sum_nats(self, windows: Sequence[Window]) -> tuple[Tensor, int]:
        """The summed loss (a number, in nats) over the windows' targets, and how many there are."""
        if self.is_one_a_time and len(windows) > 1:
            sums, counts = zip(*(self.sum_nats([window]) for window in windows), strict=True)
            return torch.stack(sums).sum(), sum(counts)
        logits, labels = self.predict(windows)
        nats = F.cross_entropy(logits, labels, reduction="sum")
        return nats, int((labels != IGNORED).sum())

    def list_nats(self, window: Window) -> NDArray[np.float64]:
        """Each target's loss."""
        logits, labels = self.predict([window])
        nats = F.cross_entropy(logits, labels, reduction="none")[labels != IGNORED]
        return nats.double().cpu().numpy()

    def predict(self, windows: Sequence[Window]) -> tuple[Tensor, Tensor]:
        """Logits [tokens, vocabulary], and what each is to predict [tokens]: IGNORED where that is
        no target."""
        ids, mask = self.pad([window.ids.tolist() for window in windows], left=False)
        labels = torch.full_like(ids, IGNORED)
        for row, window in enumerate(windows):
            targets = torch.from_numpy(window.targets).to(ids.device)
            labels[row, targets] = ids[row, targets]
        with self.autocast():
            logits = self.model(input_ids=ids, attention_mask=mask, use_cache=False).logits
        return logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten()

    def pad(self, rows: Sequence[list[int]], *, left: bool) -> tuple[Tensor, Tensor]:
        """ids and attention mask [rows, longest]."""
        longest = max(map(len, rows))
        ids = torch.full((len(rows), longest), self.base.special.pad, dtype=torch.int64)
        mask = torch.zeros_like(ids)
        for i, row in enumerate(rows):
            part = slice(longest - len(row), longest) if left else slice(0, len(row))
            ids[i, part] = torch.tensor(row)
            mask[i, part] = 1
        return ids.to(self.device), mask.to(self.device)

    def evaluate(
        self, n_dialogues: int | None, *, replies: bool = True, bias: float | None = None
    ) -> Evaluation:
        return self.validate(n_dialogues, replies=replies, bias=bias).score()

    def validate(
        self, n_dialogues: int | None, *, replies: bool = True, bias: float | None = None
    ) -> Validation:
        """`evaluate`, not scored yet."""
        generated = self.generate(n_dialogues, replies=replies)
        if bias is None or not replies:
            return Validation(generated=generated)
        own, self.config = self.config, replace(self.config, placeholder_bias=bias)
        try:
            biased = self.generate(n_dialogues)
        finally:
            self.config = own
        return Validation(generated=generated, calibrated=Calibrated.of(biased, bias))

    def generate(
        self, n_dialogues: int | None, split: str = "validation", *, replies: bool = True
    ) -> Generated:
        """Replies to the first dialogues of the split's fixed order (None: all), and the loss on
        them; without `replies` the loss alone."""
        started_s = time.perf_counter()
        windows = self.task.held_out(split, n_dialogues)
        with torch.no_grad(), quiet_dropout(self.model), self.average.in_place():
            scored = [(window, self.list_nats(window)) for window in windows]
            texts = self._reply([p for w in windows for p in list_prompts(w)]) if replies else {}
        return Generated(
            corpus=self.config.corpus,
            response=self.config.response,
            split=split,
            n_dialogues=n_dialogues,
            responses=group_by_dialogue(texts),
            losses=self.task.measure_losses(scored),
            state=TrainerState.of(
                turns_seen=self.turns,
                steps=self.steps,
                train_s=self.train_s,
                tokens_seen=self.tokens_seen,
                peak_gib=peak_gib(self.device),
            ),
            generate_s=time.perf_counter() - started_s,
        )

    def _reply(self, prompts: list[Prompt]) -> dict[tuple[str, int], str]:
        """Replies in batches of like length, halved when memory runs out."""
        waiting = sorted(prompts, key=lambda prompt: -len(prompt[2]))
        texts: dict[tuple[str, int], str] = {}
        while waiting:
            tell("validating", len(texts), len(prompts))
            batch = waiting[: self.rows_a_batch]
            try:
                replies = self.say(
                    [ids for _, _, ids in batch], choose_drawn(self.config, batch, self.device)
                )
            except torch.OutOfMemoryError:
                if self.rows_a_batch == 1:
                    raise
                self.rows_a_batch //= 2
                give_back_memory()
                continue
            for (dialogue, turn, _), reply in zip(batch, replies, strict=True):
                # behind its end stands padding, which need not be a special token, nor need the end
                texts[dialogue, turn] = self.task.decode(cut_at(reply, self.task.special.eos))
            waiting = waiting[len(batch) :]
        return texts

    def say(self, prompts: list[list[int]], drawn: LogitsProcessorList) -> list[list[int]]:
        """The tokens of a reply to each prompt."""
        ids, mask = self.pad(prompts, left=True)
        out = self._generate(ids, mask, drawn)
        return [row.tolist() for row in out[:, ids.shape[1] :]]

    def _generate(self, ids: Tensor, mask: Tensor, drawn: LogitsProcessorList) -> Tensor:
        special = replace(self.base.special, eos=self.task.special.eos)
        with self.autocast():
            replies: Tensor = self.model.generate(
                input_ids=ids,
                attention_mask=mask,
                generation_config=spell_generation(self.config, special),
                logits_processor=drawn,
            )
        return replies

    def save(self, folder: Path) -> None:
        """Weights as transformers (or, of an adapter, peft) writes them; beside them the
        optimizer's state and the place in the data order."""
        folder.mkdir(parents=True, exist_ok=True)
        if self.config.method != "none":
            with self.average.in_place() as last:
                self.model.save_pretrained(folder)
            torch.save(self.optimizer.state_dict(), folder / "optimizer.pt")
            if last:
                torch.save(last, folder / LAST)
            if self.stable_run is not None:
                torch.save(self.stable_run, folder / STABLE_RUN)
        self.base.tokenizer.save_pretrained(folder)
        state = {
            **{"turns_seen": self.turns, "steps": self.steps, "tokens_seen": self.tokens_seen},
            **{"train_s": self.train_s, "config": self.config.to_dict()},
            "curve": self.curve.to_dict(),
            "position": 0 if self.order is None else self.order.position,
            KEY: self.base.identity,
        }
        (folder / "trainer.json").write_text(json.dumps(state, indent=1) + "\n")

    def _restore(self, folder: Path) -> None:
        from safetensors.torch import load_file

        kept = json.loads((folder / "trainer.json").read_text())
        check_identity(kept.get(KEY, {}), self.base.identity, f"checkpoint {folder.name}")
        if self.order is not None:
            weights: dict[str, Tensor] = {}
            for path in sorted(folder.glob("*.safetensors")):
                weights |= load_file(path)
            load_weights(self.model, weights, self.config.method)
            self.average = WeightAverage(self.average.trained, self.average.averaging)
            if (folder / LAST).exists():
                self.average.put(torch.load(folder / LAST, weights_only=True))
            state = torch.load(folder / "optimizer.pt", map_location=self.device, weights_only=True)
            self.optimizer.load_state_dict(state)
            if (folder / STABLE_RUN).exists():
                self.stable_run = torch.load(folder / STABLE_RUN, weights_only=True)
        self.turns, self.steps = kept["turns_seen"], kept["steps"]
        self.tokens_seen, self.train_s = kept["tokens_seen"], kept["train_s"]
        self.curve = TrainingCurve.from_dict(kept.get("curve") or {})
        if self.order is not None:
            self.order.position = kept["position"]

    def close(self) -> None:
        forget()
        del self.model, self.optimizer
        self.base = None
        give_back_memory()


def copy_to(weights: dict[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    return {name: value.to(device, copy=True) for name, value in weights.items()}


def copy_to_host(value: Any) -> Any:
    return value.detach().to("cpu", copy=True) if isinstance(value, Tensor) else value
