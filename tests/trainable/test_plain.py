"""Trials by transformers: full finetuning, models that cannot be packed, encoder-decoders."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoTokenizer,
    GPTNeoConfig,
    MptConfig,
    PretrainedConfig,
    T5Config,
)

from trainable.engine.slots.data_order import Draw
from trainable.model.packable import why_alone
from trainable.model.source import EMBEDDED_FOLDER
from trainable.result import ValidationRequest
from trainable.solo import train
from trainable.solo.choose import open_finetuner, open_plain
from trainable.solo.generate import quiet_dropout
from trainable.solo.train import PlainFinetuner
from trainable.storage.adapter import inherit
from trainable.trial import ConfigError, TrialConfig
from tune.bench.tiny_models import write_model
from tune.evaluate import main as evaluate
from tune.search.trials import drop_training

METRICS = ("bleu", "inform", "success", "combined")
TRAINED: dict[str, Any] = {
    **{"learning_rate": 1e-3, "schedule": "constant", "warmup_turns": 0, "batch_turns": 8},
    **{"train_turns": 1000, "weight_decay": 0.0, "clip_norm": 1.0, "max_new_tokens": 8},
    **{"quantisation": "fp32", "seed": 1},
}
FULL: dict[str, Any] = {**TRAINED, "base_model": "tiny", "method": "full"}
LORA: dict[str, Any] = {
    **{**TRAINED, "method": "lora", "lora_rank": 4, "alpha_over_rank": 2.0, "rslora": False},
    **{"lora_modules": "all-linear", "lora_dropout": 0.1},
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(EMBEDDED_FOLDER)
    ends = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id}
    ends["pad_token_id"] = tokenizer.pad_token_id
    vocabulary = {"vocab_size": len(tokenizer), **ends}
    configs: dict[str, PretrainedConfig] = {
        "gpt_neo": GPTNeoConfig(
            hidden_size=64, num_layers=2, num_heads=2, window_size=64,
            attention_types=[[["global", "local"], 1]], max_position_embeddings=1024, **vocabulary,
        ),
        "mpt": MptConfig(d_model=64, n_heads=2, n_layers=2, expansion_ratio=2, **vocabulary),
        "t5": T5Config(
            d_model=64, d_kv=32, d_ff=128, num_layers=2, num_heads=2,
            decoder_start_token_id=tokenizer.pad_token_id, **vocabulary,
        ),
    }  # fmt: skip
    made = {}
    for name, config in configs.items():
        kind: Any = AutoModelForSeq2SeqLM if name == "t5" else AutoModelForCausalLM
        made[name] = tmp_path_factory.mktemp(name)
        kind.from_config(config).save_pretrained(made[name])
        tokenizer.save_pretrained(made[name])
    return made


def weights(finetuner: Any) -> dict[str, torch.Tensor]:
    return {n: p.detach().clone() for n, p in finetuner.model.named_parameters() if p.requires_grad}


@pytest.mark.slow
def test_full_finetuning_trains_every_weight_and_resumes_to_the_bit(tmp_path: Path) -> None:
    config = TrialConfig(**FULL, averaging=0.5)
    through = open_finetuner(config, "cpu")
    assert isinstance(through, PlainFinetuner)
    assert through.resolved.trainable_params == through.resolved.total_params
    assert "method=full" in through.resolved.execution
    before = weights(through)
    through.train_until(16)
    assert all(not torch.equal(before[n], w) for n, w in weights(through).items())
    through.save(tmp_path)
    through.train_until(40)
    resumed = open_finetuner(config, "cpu", tmp_path)
    assert 16 <= resumed.turns_seen < 40
    resumed.train_until(40)
    assert resumed.turns_seen == through.turns_seen
    curves = [[(p.steps, f"{p.loss_nats:.4f}") for p in f.curve.points] for f in (resumed, through)]
    assert curves[0] == curves[1] and curves[0][-1][0] == through.steps
    for one, other in (
        (weights(through), weights(resumed)),
        (through.average.values, resumed.average.values),
    ):
        assert one and all(torch.equal(one[n], other[n]) for n in one)
    through.save(tmp_path / "end")
    scored = drop_training(replace(config, base_model=str(tmp_path / "end")))
    alone = open_finetuner(scored, "cpu")
    assert (
        alone.evaluate(ValidationRequest(2)).responses
        == through.evaluate(ValidationRequest(2)).responses
    )
    last = weights(through)
    assert all(not torch.equal(mean, last[n]) for n, mean in through.average.values.items())


def test_the_passes_of_a_step_add_up_to_the_mean_over_its_targets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    norms, clip = [], torch.nn.utils.clip_grad_norm_

    def keep(*arguments: Any) -> torch.Tensor:
        norms.append(clip(*arguments))
        return norms[-1]

    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", keep)
    for pass_tokens in (100_000, 1):
        monkeypatch.setattr(train, "PASS_TOKENS", pass_tokens)
        open_finetuner(TrialConfig(**{**FULL, "batch_turns": 24}), "cpu").train_until(1)
    torch.testing.assert_close(*norms, rtol=1e-4, atol=0)


@pytest.mark.parametrize("method", [FULL, LORA], ids=["full", "lora"])
@pytest.mark.slow
def test_a_milestone_of_wsd_is_a_branch(
    folders: dict[str, Path], method: dict[str, Any], tmp_path: Path
) -> None:
    """Resumed after an earlier milestone or trained straight through: the same to the bit."""
    base = "tiny" if method is FULL else str(folders["gpt_neo"])
    decaying = {"schedule": "wsd", "decay_fraction": 0.5, "train_turns": 48, "base_model": base}
    decaying["averaging"] = 0.2
    config = TrialConfig(**{**method, **decaying})
    straight, halfway = (open_finetuner(config, "cpu") for _ in range(2))
    straight.train_until(48)
    halfway.train_until(24)
    halfway.save(tmp_path)
    resumed = open_finetuner(config, "cpu", tmp_path)
    assert resumed.turns_seen >= 24
    for other in (halfway, resumed):
        other.train_until(48)
        assert other.turns_seen == straight.turns_seen
        one, same = weights(straight), weights(other)
        assert all(torch.equal(one[n], same[n]) for n in one)
        mean, alike = straight.average.values, other.average.values
        assert mean and all(torch.equal(mean[n], alike[n]) for n in mean)


@pytest.mark.parametrize("name", ["gpt_neo", "t5"])
@pytest.mark.slow
def test_sampled_replies_depend_on_seed_dialogue_and_turn_alone(
    folders: dict[str, Path], name: str
) -> None:
    sampled = {"decoding": "sampling", "temperature": 1.5, "top_k": 40}
    config = TrialConfig(**{**LORA, **sampled, "base_model": str(folders[name])})
    finetuner: Any = open_finetuner(config, "cpu")
    together = finetuner.evaluate(ValidationRequest(2)).responses
    finetuner.passes.rows_a_batch = 3
    assert finetuner.evaluate(ValidationRequest(2)).responses == together
    finetuner.config = replace(config, seed=2)
    assert finetuner.evaluate(ValidationRequest(2)).responses != together


@pytest.mark.slow
@pytest.mark.parametrize("quantisation", ["fp32", "bf16"])
@pytest.mark.parametrize("name", ["recurrent_gemma", "llama_dynamic"])
def test_a_dialogue_is_read_as_if_it_were_alone(
    name: str, quantisation: str, tmp_path: Path
) -> None:
    """Where padding would tell, or the longest dialogue so far."""
    held = {**LORA, "quantisation": quantisation, "base_model": str(write_model(name, tmp_path))}
    trial = open_plain(TrialConfig(**held), "cpu")
    assert trial.passes.is_one_a_time and trial.passes.rows_a_batch == 1
    drawn = [Draw(window, place) for place, window in enumerate(trial.task.train[:6])]
    by_length = sorted(drawn, key=lambda draw: len(draw.window.ids))
    short, long = by_length[0], by_length[-1]
    with torch.no_grad(), quiet_dropout(trial.model):
        sums = [
            float(trial.passes.sum_nats(w)[0]) for w in ([short], [long], [short], [short, long])
        ]
    assert sums[0] == sums[2] and sums[3] == pytest.approx(sums[0] + sums[1], rel=1e-6)


@pytest.mark.parametrize("name", ["tiny", "gpt_neo"])
def test_rounding_in_16_bits_is_no_padding(name: str, folders: dict[str, Path]) -> None:
    held = {**LORA, "quantisation": "bf16", "base_model": str(folders.get(name, name))}
    assert not open_plain(TrialConfig(**held), "cpu").passes.is_one_a_time


@pytest.mark.slow
def test_a_state_space_is_adapted_where_adapters_are_read(tmp_path: Path) -> None:
    trial = open_plain(TrialConfig(**LORA, base_model=str(write_model("mamba", tmp_path))), "cpu")
    assert not trial.passes.is_one_a_time
    assert {path.rpartition(".")[2] for path in trial.resolved.modules} >= {"in_proj", "x_proj"}
    trial.train_until(8)


def test_from_scratch_begins_worse_than_pretrained() -> None:
    losses = []
    for initialisation in ("pretrained", "random"):
        finetuner = open_finetuner(TrialConfig(**FULL, initialisation=initialisation), "cpu")
        losses.append(finetuner.evaluate(ValidationRequest(2)).result.loss_nats)
    assert losses[0] + 1 < losses[1]


@pytest.mark.parametrize("name", ["gpt_neo", "mpt", "t5"])
@pytest.mark.parametrize("method", [FULL, LORA], ids=["full", "lora"])
@pytest.mark.slow
def test_models_that_cannot_be_packed_learn(
    folders: dict[str, Path], name: str, method: dict[str, Any], tmp_path: Path
) -> None:
    config = TrialConfig(**{**method, "base_model": str(folders[name]), "learning_rate": 1e-2})
    finetuner = open_finetuner(config, "cpu")
    untrained = finetuner.evaluate(ValidationRequest(2))
    finetuner.train_until(80)
    trained = finetuner.evaluate(ValidationRequest(2))
    assert trained.result.loss_nats < untrained.result.loss_nats - 0.1
    assert trained.result.turns_seen >= 80 and trained.result.n_dialogues == 2
    assert finetuner.resolved.execution.startswith("solo: ")
    finetuner.save(tmp_path)
    again = open_finetuner(config, "cpu", tmp_path)
    assert again.passes.is_one_a_time == finetuner.passes.is_one_a_time  # dropout is no padding
    assert again.evaluate(ValidationRequest(2)).result.loss_nats == pytest.approx(
        trained.result.loss_nats
    )
    if config.method == "lora":
        warm = (
            open_finetuner(replace(config, adapter=str(tmp_path)), "cpu")
            .evaluate(ValidationRequest(2))
            .result
        )
        assert warm.turns_seen == 0
        assert warm.loss_nats == pytest.approx(trained.result.loss_nats)


@pytest.mark.parametrize(
    ("name", "response"), [("t5", "lexicalised"), ("gpt_neo", "delexicalised")]
)
@pytest.mark.slow
def test_an_adapter_of_theirs_is_evaluated_as_its_trial_was(
    folders: dict[str, Path], name: str, response: str, tmp_path: Path
) -> None:
    fields = {**LORA, "learning_rate": 1e-2, "response": response, "context": "history+state"}
    finetuner = open_finetuner(TrialConfig(**fields, base_model=str(folders[name])), "cpu")
    finetuner.train_until(80)
    wanted = finetuner.evaluate(ValidationRequest(2)).result
    finetuner.save(tmp_path)
    out = tmp_path / "scores.json"
    arguments = ["--split", "validation", "--dialogues", "2", "--device", "cpu"]
    assert evaluate(["--adapter", str(tmp_path), *arguments, "--json", str(out)]) == 0
    scores = json.loads(out.read_text())
    assert {n: scores[n] for n in METRICS} == {n: getattr(wanted, n) for n in METRICS}
    assert inherit(str(tmp_path))["context"] == "history+state"


@pytest.mark.slow
def test_an_encoder_reads_the_model_s_own_earlier_replies(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    own = TrialConfig(**LORA, base_model=str(folders["t5"]), earlier_replies="own")
    finetuner: Any = open_finetuner(replace(own, learning_rate=1e-2), "cpu")
    finetuner.train_until(80)
    read: list[str] = []
    say = finetuner.passes.say

    def listen(prompts: Any, config: TrialConfig) -> list[list[int]]:
        made = say(prompts, config)
        read.extend(finetuner.task.tokenizer.decode(ids) for _, turn, ids in prompts if turn == 1)
        return made

    monkeypatch.setattr(finetuner.passes, "say", listen)
    made = finetuner.generate(ValidationRequest(2)).responses
    first = [turns[0]["response"] for turns in made.values()]
    assert len(read) == 2 and all(any(f"bot> {reply}" in text for text in read) for reply in first)


def test_what_runs_in_the_engine_only_is_refused(folders: dict[str, Path]) -> None:
    contrastive = {"decoding": "contrastive", "top_k": 4, "penalty_alpha": 0.6}
    with pytest.raises(ConfigError, match="contrastive runs in the engine only"):
        open_finetuner(TrialConfig(**FULL, **contrastive), "cpu")
    with pytest.raises(ConfigError, match="target=response"):
        open_finetuner(TrialConfig(**FULL, target="state+response"), "cpu")
    with pytest.raises(ConfigError, match="quantisation=bf16 or fp32"):
        open_finetuner(
            TrialConfig(**{**FULL, "quantisation": "nf4", "double_quantisation": True}), "cpu"
        )
    config = TrialConfig(**{**LORA, "base_model": str(folders["gpt_neo"])})
    with pytest.raises(ConfigError, match=r"1024 tokens .* of 1024 positions .*_tokens=1016"):
        open_finetuner(replace(config, earlier_replies="own"), "cpu")
    open_finetuner(config, "cpu")
    assert (
        why_alone(config) == "GPTNeoForCausalLM computes attention in a way that cannot be packed"
    )


def test_sixteen_bits_keep_small_steps() -> None:
    """A step far below bf16's spacing still moves the weights."""
    config = TrialConfig(**{**FULL, "quantisation": "bf16", "learning_rate": 1e-6})
    finetuner: Any = open_finetuner(config, "cpu")
    before = weights(finetuner)
    finetuner.train_until(8)
    moved = [not torch.equal(before[n], w) for n, w in weights(finetuner).items()]
    assert all(moved) and all(w.dtype == torch.float32 for w in before.values())
