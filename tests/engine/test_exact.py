"""Right or refused: what the engine computes is what transformers and peft compute."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_trials import make_config, make_spec

from trainable.engine.layers import attention, scores
from trainable.engine.layers.scores import ScoreRules
from trainable.engine.pack import Pack
from trainable.model.base import load_base
from trainable.model.packable import why_alone
from trainable.model.verdicts import key_of, recall_verdict
from trainable.result import ValidationRequest
from trainable.solo.choose import open_finetuner
from trainable.solo.unpacked_engine import open_plain_engine
from trainable.trial import CannotPack
from tune.bench.comparison import compare
from tune.bench.exactness import judge
from tune.bench.tiny_models import MODELS, write_model

# soft caps of scores and logits, and a window; attention of its own; text beside a vision tower
FEW = ("gemma2", "falcon_new", "gemma3_wrapper")
ENCODERS = ("cpmant", "roberta", "xlnet")  # they read what stands behind a token


@pytest.mark.parametrize("name", FEW)
@pytest.mark.slow
def test_the_engine_equals_transformers_and_peft(name: str, tmp_path: Path) -> None:
    folder = write_model(name, tmp_path / name)
    row = compare(make_config(folder, train_turns=10_000), tmp_path / "adapter")
    assert row.is_right, row


@pytest.mark.nightly
@pytest.mark.parametrize("name", [name for name in MODELS if name not in FEW])
def test_every_architecture_is_right_or_runs_alone(name: str, tmp_path: Path) -> None:
    verdict = judge(name, tmp_path)[-1].partition(":")[0]
    assert verdict in (("refused",) if name in ENCODERS else ("exact", "alone"))


@pytest.mark.slow
def test_what_the_engine_computes_otherwise_runs_alone(
    tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if windows were not known: the check finds it, and every later look knows it."""
    read = scores.read_rules

    def forget_window(*given: object) -> ScoreRules:
        return replace(read(*given), window=None)  # type: ignore[arg-type]

    monkeypatch.setattr(attention, "read_rules", forget_window)
    config = make_config(write_model("mistral_window", tmp_path / "model"), max_new_tokens=4)
    assert why_alone(config) is None  # nobody has looked yet
    finetuner = open_finetuner(config, "cpu")
    reason = why_alone(config)
    assert reason is not None and "nats (0.0001 allowed)" in reason
    assert finetuner.resolved.execution == f"solo: {reason}"
    monkeypatch.setattr(Pack, "forward", None)  # nothing is computed again
    with pytest.raises(CannotPack, match="log probabilities"):
        Pack(load_base(make_spec(tmp_path / "model")), 1, 4)


@pytest.mark.slow
def test_a_longer_dialogue_than_the_last_check_s_is_checked_again(
    tmp_path: Path, own_cache: Path
) -> None:
    spec = make_spec(write_model("mistral_window", tmp_path / "model"))
    told = []
    for tokens in (256, 512, 300):
        Pack(load_base(spec), 1, 4, dialogue_tokens=tokens)
        verdict = recall_verdict(key_of(spec), "cpu")
        assert verdict is not None and verdict.reason is None
        told.append(verdict.tokens)
    assert told == [256, 512, 512]


@pytest.mark.slow
def test_an_engine_s_process_runs_alone_what_its_engine_cannot(
    tmp_path: Path, own_cache: Path
) -> None:
    folder = write_model("bloom", tmp_path / "model")
    config = make_config(folder, max_new_tokens=4, batch_turns=4)
    engine = open_plain_engine(slots=2, device="cpu")
    told = engine.join("one", config, None)
    assert told.execution.startswith("solo: ")
    engine.train_until("one", 4)
    engine.save("one", tmp_path / "saved")
    engine.join("two", config, tmp_path / "saved")
    assert engine.turns_seen("two") == engine.turns_seen("one") >= 4
    wanted, found = (
        engine.evaluate(key, ValidationRequest(1)).score().result for key in ("one", "two")
    )
    assert found.loss_nats == pytest.approx(wanted.loss_nats)
    beside = engine.evaluate("two", ValidationRequest(1, bias=2.0)).score().result.calibrated
    assert beside is not None and beside["bias"] == 2.0
    assert (
        engine.evaluate("two", ValidationRequest(1, replies=False)).score().result.combined is None
    )
    engine.close()


@pytest.mark.parametrize(
    "rules",
    [
        ScoreRules(scale=0.3, window=7),
        ScoreRules(scale=0.3, chunk=5),
        ScoreRules(scale=2.0, cap=1.5),
        ScoreRules(scale=0.3, sinks=torch.tensor([0.5, -1.0, 2.0, 0.0]), window=4),
    ],
    ids=["window", "chunk", "cap", "sinks"],
)
def test_every_way_of_attending_obeys_the_rules(rules: ScoreRules) -> None:
    """A prefill of all tokens, and the last token alone against a cache of the others."""
    heads, kv_heads, width, lengths = 4, 2, 8, (11, 3, 17)
    total = sum(lengths)
    q = torch.randn(1, heads, total, width)
    k, v = torch.randn(1, kv_heads, total, width), torch.randn(1, kv_heads, total, 6)
    packing = attention.Packing(lengths, torch.device("cpu"))
    out = packing.attend(q, k, v, rules)[0]
    starts = [0, 11, 14]
    for start, length in zip(starts, lengths, strict=True):
        own = slice(start, start + length)
        for at in range(length):
            for head in range(heads):
                products = k[0, head // 2, own] @ q[0, head, start + at] * rules.scale
                if rules.cap:
                    products = rules.cap * (products / rules.cap).tanh()
                seen = [
                    n
                    for n in range(at + 1)
                    if (not rules.window or at - n < rules.window)
                    and (not rules.chunk or at // rules.chunk == n // rules.chunk)
                ]
                weights = products[seen].exp()
                sink = 0.0 if rules.sinks is None else rules.sinks[head].exp()
                wanted = weights @ v[0, head // 2, own][seen] / (weights.sum() + sink)
                torch.testing.assert_close(out[start + at, head], wanted, rtol=1e-4, atol=1e-5)
    last = torch.tensor([s + n - 1 for s, n in zip(starts, lengths, strict=True)])
    columns = max(lengths)
    keys, values = torch.zeros(3, kv_heads, columns, width), torch.zeros(3, kv_heads, columns, 6)
    for row, (start, length) in enumerate(zip(starts, lengths, strict=True)):
        keys[row, :, : length - 1] = k[0, :, start : start + length - 1]
        values[row, :, : length - 1] = v[0, :, start : start + length - 1]
    cached = attention.Cached([keys], [values], torch.tensor(lengths) - 1)
    new = (side[0, :, last].transpose(0, 1)[:, :, None] for side in (q, k, v))
    torch.testing.assert_close(cached.attend(0, *new, rules)[:, 0], out[last])
