"""A trial alone, by transformers itself: all weights trained, or a model that cannot be packed."""

from __future__ import annotations

import json
import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.utils._pytree import tree_map

from trainable.engine.device.memory import describe_device, give_back_memory, peak_gib
from trainable.engine.slots.data_order import DataOrder, cut_step
from trainable.engine.slots.loss_scale import not_finite
from trainable.engine.slots.optimizer import is_decaying, learning_rate_at
from trainable.engine.slots.task import Task, Tasks, group_by_dialogue
from trainable.evaluation.validation import Generated, Validation, validate
from trainable.model.counter import combine
from trainable.model.identity import KEY, check_identity
from trainable.model.packable import why_alone
from trainable.model.precision import name_dtype
from trainable.result import Evaluation, Resolved, TrainerState, ValidationRequest
from trainable.solo.average import WeightAverage, copy_to_host
from trainable.solo.generate import quiet_dropout
from trainable.solo.loss_scaler import LossScaler
from trainable.solo.model import group_by_rate, prepare
from trainable.solo.passes import Passes
from trainable.solo.seq2seq import Seq2SeqPasses
from trainable.system.activity import forget, tell
from trainable.system.gpu import recall_gpu
from trainable.system.whole import write_json
from trainable.training_curve import TrainingCurve, TrainingPoint
from trainable.trial import TrialConfig

PASS_TOKENS = 4096
STABLE_RUN = "trunk.pt"
LAST = "last_weights.pt"  # of the last step, where the model's files hold an average


class PlainFinetuner:
    """See the Finetuner protocol."""

    def __init__(self, config: TrialConfig, base: Any, start: Path | None = None) -> None:
        self.config, self.base = config, base
        tasks = Tasks(base)
        tasks.prepare(config)
        self.task: Task = tasks.of(config)
        self.prepared = prepare(config, base)
        self.model = self.prepared.model
        kind = Seq2SeqPasses if base.is_encoder_decoder else Passes
        self.passes: Passes = kind(config, base, self.task, self.model)
        self.device: torch.device = base.device
        trained = {n: p for n, p in self.model.named_parameters() if p.requires_grad}
        self.average = WeightAverage(trained, config.averaging or 0.0)
        self.optimizer: Any = None
        self.order: DataOrder | None = None
        if config.method != "none":
            groups, self.ratios = group_by_rate(trained, config)
            self.optimizer = torch.optim.AdamW(groups, weight_decay=config.weight_decay or 0.0)
            self.order = self.task.order(config)
        self.scaler = LossScaler(base.compute_dtype, self.device)
        self.turns_seen, self.steps, self.tokens_seen = 0, 0, 0
        self.train_s, self.curve = 0.0, TrainingCurve()
        self.stable_run: dict[str, Any] | None = None  # as a slot's: the stable run of wsd
        self.resolved = Resolved(
            modules=self.prepared.modules,
            trainable_params=0 if self.order is None else sum(p.numel() for p in trained.values()),
            total_params=base.total_params,
            base_residency=base.residency,
            compute=name_dtype(base.compute_dtype),
            execution=f"solo: {why_alone(config) or 'by transformers'}",
            device=describe_device(self.device),
            base=base.identity,
        )
        if start is not None:
            self._restore(start)

    def train_until(self, turns: int) -> None:
        if self.stable_run is not None and self.turns_seen < turns:
            self._return_to(self.stable_run)
        while self.order is not None and self.turns_seen < turns:
            started_s = time.perf_counter()
            if self.stable_run is None and is_decaying(self.config, self.turns_seen, turns):
                self.stable_run = self._copy_state()
            rate = learning_rate_at(self.config, self.turns_seen, turns)
            nats, norm = self._step(rate)
            self.train_s += time.perf_counter() - started_s
            self.curve.add(self._describe_step(rate, nats, norm))
            tell("training", self.turns_seen, turns, curve=self.curve)

    def _copy_state(self) -> dict[str, Any]:
        """What training goes on from, on the host."""
        assert self.order is not None
        weights = {"weights": self.average.trained, "average": self.average.values}
        optimizer = {"optimizer": self.optimizer.state_dict(), "scaling": self.scaler.scaling}
        state = {**weights, **optimizer}
        place = {"turns": self.turns_seen, "steps": self.steps, "position": self.order.position}
        return {**tree_map(copy_to_host, state), **place, "curve": self.curve.to_dict()}

    def _return_to(self, stable_run: dict[str, Any]) -> None:
        assert self.order is not None
        self.average.put(stable_run["weights"])
        kept = stable_run.get("average", {}).items()
        self.average.values = {name: value.to(self.device, copy=True) for name, value in kept}
        self.optimizer.load_state_dict(stable_run["optimizer"])
        self.scaler.restore(stable_run.get("scaling"))
        self.turns_seen, self.steps = stable_run["turns"], stable_run["steps"]
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
            nats, _ = self.passes.sum_nats(piece.draws)
            part = nats / piece.batch_targets
            self.scaler.backward(part)
            loss += part.detach()
            self.tokens_seen += piece.n_tokens
        trained = list(self.average.trained.values())
        self.scaler.unscale(trained)
        norm = torch.nn.utils.clip_grad_norm_(trained, self.config.clip_norm)
        measured: list[float] = torch.stack((loss, norm.float())).tolist()  # the step's only wait
        is_finite = math.isfinite(measured[1])
        if not is_finite and self.scaler.is_spent:
            raise not_finite(self.turns_seen, self.config.learning_rate)
        self.scaler.step(self.optimizer, [rate * r for r in self.ratios], is_finite=is_finite)
        self.turns_seen += sum(draw.window.n_turns for draw in draws)
        self.steps += 1
        self.average.follow(self.steps)
        return measured[0], measured[1]

    def _describe_step(self, rate: float, nats: float, norm: float) -> TrainingPoint:
        return TrainingPoint(
            turns_seen=self.turns_seen,
            steps=self.steps,
            loss_nats=nats,
            learning_rate=rate,
            gradient_norm=norm,
            tokens_seen=self.tokens_seen,
            train_s=self.train_s,
            **recall_gpu(),
        )

    def evaluate(self, asked: ValidationRequest) -> Evaluation:
        return self.validate(asked).score()

    def validate(self, asked: ValidationRequest) -> Validation:
        """`evaluate`, not scored yet."""
        return validate(self.generate, asked)

    def generate(self, asked: ValidationRequest) -> Generated:
        """Replies to the dialogues asked for, and the loss on them; without `replies` the loss
        alone. `bias`: a placeholder_bias in the place of the trial's own."""
        started_s, bias = time.perf_counter(), asked.bias
        config = self.config if bias is None else replace(self.config, placeholder_bias=bias)
        windows = self.task.held_out(asked.split, asked.n_dialogues)
        with torch.no_grad(), quiet_dropout(self.model), self.average.in_place():
            scored = [(window, self.passes.list_nats(window)) for window in windows]
            made = self.passes.reply_to(asked, config) if asked.replies else {}
        return Generated(
            corpus=self.config.corpus,
            response=self.config.response,
            asked=asked,
            responses=group_by_dialogue({t: self.task.read_reply(ids) for t, ids in made.items()}),
            losses=self.task.measure_losses(scored),
            state=TrainerState.of(
                turns_seen=self.turns_seen,
                steps=self.steps,
                train_s=self.train_s,
                tokens_seen=self.tokens_seen,
                peak_gib=peak_gib(self.device),
            ),
            generate_s=time.perf_counter() - started_s,
        )

    def save(self, folder: Path) -> None:
        """Weights as transformers (or, of an adapter, peft) writes them; beside them the
        optimizer's state and the place in the data order."""
        folder.mkdir(parents=True, exist_ok=True)
        if self.config.method != "none":
            with self.average.in_place() as last:
                self.prepared.save(folder)
            torch.save(self.optimizer.state_dict(), folder / "optimizer.pt")
            if last:
                torch.save(last, folder / LAST)
            if self.stable_run is not None:
                torch.save(self.stable_run, folder / STABLE_RUN)
        self.base.tokenizer.save_pretrained(folder)
        state = {
            **{"turns_seen": self.turns_seen, "steps": self.steps, "train_s": self.train_s},
            **{"tokens_seen": self.tokens_seen, "curve": self.curve.to_dict()},
            "config": self.config.to_dict(),
            "position": 0 if self.order is None else self.order.position,
            "scaling": self.scaler.scaling.tolist(),
            KEY: self.base.identity,
        }
        write_json(folder / "trainer.json", state)

    def _restore(self, folder: Path) -> None:
        kept = json.loads((folder / "trainer.json").read_text())
        check_identity(kept.get(KEY, {}), self.base.identity, f"checkpoint {folder.name}")
        if self.order is not None:
            weights: dict[str, Tensor] = {}
            for path in sorted(folder.glob("*.safetensors")):
                weights |= load_file(path)
            self.prepared.load(weights)
            self.average = WeightAverage(self.average.trained, self.average.averaging)
            if (folder / LAST).exists():
                self.average.put(torch.load(folder / LAST, weights_only=True))
            state = torch.load(folder / "optimizer.pt", map_location=self.device, weights_only=True)
            self.optimizer.load_state_dict(state)
            if (folder / STABLE_RUN).exists():
                self.stable_run = torch.load(folder / STABLE_RUN, weights_only=True)
            self.order.position = kept["position"]
            self.scaler.restore(kept.get("scaling"))
        self.turns_seen, self.steps = kept["turns_seen"], kept["steps"]
        self.tokens_seen, self.train_s = kept["tokens_seen"], kept["train_s"]
        self.curve = TrainingCurve.from_dict(kept.get("curve") or {})

    def close(self) -> None:
        forget()
        del self.model, self.prepared, self.passes, self.optimizer, self.base
        give_back_memory()
