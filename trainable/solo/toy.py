"""A finetuner that is a formula: learning curves with seeded noise, in no time and without torch.

Ships with the package as `base_model="toy"`, so that a search, its faults and its analysis can be
tried in seconds. `toy:0.001` also takes 0.001 real seconds for every turn it trains on.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from trainable.result import EvalResult, Evaluation, Resolved, ValidationRequest
from trainable.storage.adapter import read_adapter_config
from trainable.system.activity import ALONE, forget, tell
from trainable.training_curve import TrainingCurve, TrainingPoint
from trainable.trial import ConfigError, TrialConfig, TrialFailed

LAYER_PARAMS = {"all-linear": 1000, "ffn": 600, "attention": 400, "qv": 200}  # at rank 1
DIVERGING_RATE = 0.5
MEMORY_RANK = 512  # more does not fit
DIALOGUES = 100  # all that there are
TURNS_A_DIALOGUE = 5
WORDS_A_TARGET = 0.8  # tokens are parts of words, and each reply has an end
LOSS_SHARE = 0.1  # of an evaluation's time that measures the loss alone
TURN_S = 0.01  # simulated training time
TOKENS_A_TURN = 12


@dataclass(frozen=True)
class ScoredEvaluation:
    """A formula's evaluation, of which nothing is left to score."""

    evaluation: Evaluation

    def score(self) -> Evaluation:
        return self.evaluation


class ToyFinetuner:
    """See the Finetuner protocol. Diverges with a learning rate from 0.5, is out of memory with a
    rank above 512."""

    def __init__(self, config: TrialConfig, start: Path | None = None, key: str = ALONE) -> None:
        self.config, self.key = config, key
        self.sleep_s = _read_sleep(config.base_model)
        self._turns, self._curve = 0, TrainingCurve()
        self._ahead_turns = 0  # what the adapter it starts from had seen
        if config.adapter is not None:
            self._ahead_turns = read_adapter_config(Path(config.adapter))["turns"]
        self._chain = ""  # depends on every step taken: tells a replay from a true continuation
        params = _count_params(config)
        self.resolved = Resolved(
            modules=tuple(f"toy.layers.{i}.{config.lora_modules}" for i in range(2))
            if config.lora_modules
            else (),
            trainable_params=params,
            total_params=100_000 + params,
            base_residency="formula",
            execution="formula",
            device="none",
        )
        if start is not None:
            state = json.loads((start / "toy.json").read_text(encoding="utf-8"))
            self._turns, self._chain = state["turns"], state["chain"]
            self._curve = TrainingCurve.from_dict(state.get("curve") or {})

    @property
    def turns_seen(self) -> int:
        return self._turns

    @property
    def curve(self) -> TrainingCurve:
        return self._curve

    def train_until(self, turns: int) -> None:
        if (self.config.lora_rank or 0) > MEMORY_RANK:
            raise TrialFailed(f"out of memory: rank {self.config.lora_rank} does not fit")
        while self._turns < turns:
            if (self.config.learning_rate or 0.0) >= DIVERGING_RATE:
                raise TrialFailed(f"the loss is nan after {self._turns} turns")
            step = self.config.batch_turns or 1
            if self.sleep_s:
                time.sleep(self.sleep_s * step)
            self._turns += step
            self._chain = hashlib.sha256(f"{self._chain}{self._turns}".encode()).hexdigest()
            self._curve.add(self._describe_step(step))
            tell("training", self._turns, turns, key=self.key, curve=self._curve)

    def _describe_step(self, batch_turns: int) -> TrainingPoint:
        """The formula's loss, with noise out of the step's own digest."""
        miss = 1 - _quality(self.config, self._turns + self._ahead_turns)
        noise = int(self._chain[:4], 16) / 0xFFFF - 0.5
        return TrainingPoint(
            turns_seen=self._turns,
            steps=self._turns // batch_turns,
            loss_nats=4 * miss * (1 + 0.2 * noise),
            learning_rate=self.config.learning_rate or 0.0,
            gradient_norm=miss * (1 + 0.5 * noise),
            tokens_seen=self._turns * TOKENS_A_TURN,
            train_s=self._turns * TURN_S,
        )

    def evaluate(self, asked: ValidationRequest) -> Evaluation:
        n_dialogues = DIALOGUES if asked.n_dialogues is None else asked.n_dialogues
        tell("validating", 0, n_dialogues * TURNS_A_DIALOGUE, key=self.key)
        quality = _quality(self.config, self._turns + self._ahead_turns)
        settings = {n: v for n, v in self.config.to_dict().items() if n != "adapter"}  # a path
        noise = random.Random(f"{sorted(settings.items())} {self._turns}")
        quality = min(max(quality + noise.gauss(0.0, 0.01), 0.01), 0.99)
        dialogues = {f"toy{i:04d}": _score(i, quality) for i in range(n_dialogues)}
        result = _summarise(dialogues, quality, self._turns, self.config)
        if not asked.replies:
            return Evaluation(result=_drop_replies(result), dialogues={}, responses={})
        if asked.bias is not None:
            names = ("combined", "bleu", "inform", "success")
            beside = {name: getattr(result, name) for name in names}
            result = replace(result, calibrated={"bias": asked.bias, **beside})
        return Evaluation(
            result=result,
            dialogues=dialogues,
            responses={
                name: [{"response": f"the [restaurant_name] is {self._chain[:8]} ."}]
                * TURNS_A_DIALOGUE
                for name in dialogues
            },
        )

    def validate(self, asked: ValidationRequest) -> ScoredEvaluation:
        return ScoredEvaluation(self.evaluate(asked))

    def save(self, folder: Path) -> None:
        state = {"turns": self._turns, "chain": self._chain, "curve": self._curve.to_dict()}
        (folder / "toy.json").write_text(json.dumps(state), encoding="utf-8")
        adapter = {"r": self.config.lora_rank, "turns": self._turns + self._ahead_turns}
        (folder / "adapter_config.json").write_text(json.dumps(adapter), encoding="utf-8")

    def close(self) -> None:
        forget(self.key)


def _read_sleep(base_model: str) -> float:
    _, _, seconds = base_model.partition(":")
    try:
        return float(seconds or 0.0)
    except ValueError:
        raise ConfigError(
            f"base_model must be 'toy' or 'toy:SECONDS' (a turn), not {base_model!r}"
        ) from None


def _count_params(config: TrialConfig) -> int:
    if config.method == "none":
        return 0
    if config.method == "full":
        return 100_000
    return (config.lora_rank or 0) * LAYER_PARAMS.get(config.lora_modules or "", 300)


def _quality(config: TrialConfig, turns: int) -> float:
    """Expected quality in 0..1 after `turns`: rises to an asymptote set by capacity and learning
    rate, at a pace set by the learning rate."""
    if config.method == "none" or not turns:
        return 0.05
    rate = config.learning_rate or 1e-6
    capacity = math.log(1 + _count_params(config)) / math.log(1 + 64_000)
    best_rate = 3e-3 / (1 + 0.5 * capacity)
    miss = math.log10(rate / best_rate)
    asymptote = (0.45 + 0.4 * min(capacity, 1.0)) * math.exp(-0.35 * miss**2)
    pace_turns = 300 * (3e-3 / rate) ** 0.4
    return 0.05 + asymptote * (1 - math.exp(-turns / pace_turns))


def expected_combined(config: TrialConfig, turns: int) -> float:
    """Combined after `turns` without noise, as over infinitely many dialogues: what a search on
    the toy tries to find the best of."""
    quality = _quality(config, turns)
    return 100 * quality**1.75 + 50 * (quality + quality**2)


def _score(index: int, quality: float) -> dict[str, Any]:
    """One dialogue's counts: easier ones first succeed, the same ones for every trial."""
    draw = random.Random(index)
    inform = int(draw.random() < quality)
    success = int(inform and draw.random() < quality)
    tokens = TURNS_A_DIALOGUE * TOKENS_A_TURN
    totals = [tokens - n * TURNS_A_DIALOGUE for n in range(4)]
    matches = [round(total * quality ** (1 + 0.5 * n)) for n, total in enumerate(totals)]
    return {"inform": inform, "success": success, "bleu": [*matches, *totals, tokens, tokens]}


def _summarise(
    dialogues: dict[str, dict[str, Any]], quality: float, turns: int, config: TrialConfig
) -> EvalResult:
    n = len(dialogues)
    inform = 100 * sum(d["inform"] for d in dialogues.values()) / n
    success = 100 * sum(d["success"] for d in dialogues.values()) / n
    sums = [sum(column) for column in zip(*(d["bleu"] for d in dialogues.values()), strict=True)]
    precisions = [max(sums[i], 0.1) / sums[4 + i] for i in range(4)]
    bleu = 100 * math.exp(sum(math.log(p) for p in precisions) / 4)
    values = {"bleu": bleu, "inform": inform, "success": success}
    values["combined"] = bleu + 0.5 * (inform + success)
    half = 196 * math.sqrt(0.25 / n)
    return EvalResult(
        turns_seen=turns,
        steps=turns // (config.batch_turns or 1),
        loss_nats=4 * (1 - quality),
        nats_per_word=4 * (1 - quality) / WORDS_A_TARGET,
        **values,
        richness={"avg_lens": float(TOKENS_A_TURN)},
        n_dialogues=n,
        n_turns=n * TURNS_A_DIALOGUE,
        split="validation",
        states="gold",
        intervals={name: (max(v - half, 0.0), v + half) for name, v in values.items()},
        train_s=turns * TURN_S,
        eval_s=n * 0.01,
        generate_s=n * 0.01,
        train_turns_per_s=1 / TURN_S,
        tokens_per_s=TOKENS_A_TURN / TURN_S,
        peak_gib=0.1,
    )


def _drop_replies(result: EvalResult) -> EvalResult:
    absent: dict[str, Any] = dict.fromkeys(("bleu", "inform", "success", "combined", "generate_s"))
    eval_s = result.eval_s * LOSS_SHARE
    return replace(result, **absent, richness={}, intervals={}, eval_s=eval_s)
