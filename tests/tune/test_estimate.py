"""What a sweep is said to cost, before it starts."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from inline import make_config, open_search, run_inline
from transformers import MixtralConfig

from analysis.records import read_sweep
from search_spaces.find import find_space
from trainable.model.sizes import read_sizes, spell_sizes
from trainable.trial import ConfigError, TrialConfig
from tune.folder.disk import measure_bytes
from tune.plan.checks import check_layers, tell_experts
from tune.plan.disk import count_checkpoint_bytes
from tune.plan.dry_run import describe_plan
from tune.plan.estimate import estimate, sample_trials
from tune.plan.played_race import expect_turnout
from tune.run import main
from tune.search.config import SweepConfig
from tune.search.profiles import BASES, compose

LLAMA_7B = {
    **{"model_type": "llama", "hidden_size": 4096, "intermediate_size": 11008},
    **{"num_hidden_layers": 32, "num_attention_heads": 32, "vocab_size": 32000},
}
PYTHIA_70M = {
    **{"model_type": "gpt_neox", "hidden_size": 512, "intermediate_size": 2048},
    **{"num_hidden_layers": 6, "num_attention_heads": 8, "vocab_size": 50304},
}
SMOLLM2_135M = {
    **{"model_type": "llama", "hidden_size": 576, "intermediate_size": 1536, "vocab_size": 49152},
    **{"num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3},
    "tie_word_embeddings": True,
}
T5_SMALL = {
    **{"model_type": "t5", "d_model": 512, "d_ff": 2048, "d_kv": 64, "num_layers": 6},
    **{"num_heads": 8, "vocab_size": 32128, "is_encoder_decoder": True},
    "tie_word_embeddings": True,
}


def spell_lora(modules: str, rank: int, **changes: Any) -> TrialConfig:
    fields = {**BASES["tiny"], "warmup_turns": 0, "lora_modules": modules, "lora_rank": rank}
    return TrialConfig.from_dict({**fields, **changes})


@pytest.mark.parametrize(
    ("config", "millions"),
    [(LLAMA_7B, 6738), (PYTHIA_70M, 70.4), (SMOLLM2_135M, 134.5), (T5_SMALL, 60.5)],
)
def test_parameters_are_counted_from_config_json(config: dict, millions: float) -> None:
    assert spell_sizes(config).total_params / 1e6 == pytest.approx(millions, rel=0.12)


def test_the_embedded_model_is_counted_exactly_from_its_weights() -> None:
    """As the engine resolved them: recorded in the example of the documentation."""
    sizes = read_sizes("tiny")
    assert sizes.total_params == 1213568
    assert sizes.count_adapter(spell_lora("all-linear", 16)) == 188416
    assert sizes.count_adapter(spell_lora("qv", 16)) == 32768
    assert sizes.count_adapter(spell_lora("qv", 16, rank_pattern="first-half=8")) == 24576
    assert spell_sizes(LLAMA_7B).count_adapter(spell_lora("all-linear", 64)) == 159907840


@pytest.mark.parametrize("asha", ["stop", "promote", "off"])
@pytest.mark.slow
def test_the_trials_expected_at_a_rung_are_about_those_that_get_there(
    tmp_path: Path, asha: str
) -> None:
    config, space = make_config(tmp_path, trials=60, asha=asha)
    search, _ = open_search(config, space)
    run_inline(search)
    records = read_sweep(config.folder)
    for turns, expected in zip((400, 800, 1600), expect_turnout(config).reached, strict=True):
        there = sum(t.eval_at(turns) is not None for t in records.searched)
        assert there == pytest.approx(expected, rel=0.7, abs=3)


RECORDED = ("results/smollm2/qlora", "results/smollm2/on-1-gpu", "example/sweep")


@pytest.mark.parametrize("name", RECORDED)
def test_as_many_go_on_as_in_sweeps_that_learnt(name: str) -> None:
    records = read_sweep(Path(__file__).parents[2] / "analysis" / name)
    config = SweepConfig.from_dict(records.config)
    for rung, expected in enumerate(expect_turnout(config).reached):
        there = sum(len(t.evals) > rung for t in records.searched)
        assert there == pytest.approx(expected, rel=0.35)


def test_the_pace_is_an_earlier_sweep_s_where_there_is_one(tmp_path: Path) -> None:
    space = find_space("lora_modules")
    flags = {"name": "s", "space": "lora_modules", "storage": str(tmp_path), "trials": 24}
    config = compose("tiny", flags)
    assumed = estimate(config, space)
    assert "1M parameters" in assumed.assumes[0] and 0.001 < assumed.hours < 0.1
    toy, toys = make_config(tmp_path, name="earlier", trials=24)
    search, _ = open_search(toy, toys)
    run_inline(search)
    events = (toy.folder / "evals.jsonl").read_text()  # the toy's clock: 0.01 s for a turn
    (toy.folder / "evals.jsonl").write_text(events.replace('"toy"', '"tiny"'))
    from tune.plan import pace as module

    module.read_earlier.cache_clear()
    recorded = estimate(config, space)
    assert recorded.assumes == ("tiny as fast as in earlier",)
    spent = sum(
        t.evals[-1].train_s + sum(e.eval_s for e in t.evals) for t in search_records(toy.folder)
    )
    assert recorded.hours * 3600 == pytest.approx(spent, rel=0.5)


def search_records(folder: Path) -> list:
    return [t for t in read_sweep(folder).searched if t.evals]


@pytest.mark.slow
def test_the_disk_that_is_used_stays_below_what_was_said(tmp_path: Path) -> None:
    config, space = make_config(tmp_path, trials=100)
    cost = estimate(config, space)
    search, _ = open_search(config, space)
    run_inline(search)
    kept = list((config.folder / "checkpoints").glob("*/[0-9]*"))
    complete = [t for t in read_sweep(config.folder).trials if t.state == "COMPLETE"]
    assert {p.parent.name for p in kept} == {t.id for t in complete}
    assert len(kept) <= 2 * len(complete)
    assert measure_bytes(config.folder / "checkpoints") < cost.disk.peak


def test_a_checkpoint_is_as_large_as_the_engine_writes_it() -> None:
    """760,832 bytes of averaged adapter, as many of the last weights and 1,522,736 of moments at
    rank 16 on all layers, and headers."""
    config = compose("tiny", {"name": "s", "space": "lora_modules", "trials": 1})
    (trial,) = sample_trials(config, find_space("lora_modules"))
    assert count_checkpoint_bytes(trial) == pytest.approx(2 * 760_832 + 1_522_736, rel=0.02)
    plain, pissa = (spell_lora("qv", 16, lora_init=init) for init in ("uniform", "pissa"))
    assert count_checkpoint_bytes(pissa) == 2 * count_checkpoint_bytes(plain)


def test_a_dry_run_tells_all_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    flags = ["--space", "lora_modules", "--profile", "tiny", "--storage", str(tmp_path / "runs")]
    assert main([*flags, "--dry-run", "--trials", "9", "--set", "schedule=cosine"]) == 0
    out = capsys.readouterr().out
    for line in (
        "  learning_rate: 0.0001 to 0.03, logarithmic",
        "  schedule: cosine",
        "  decoding: greedy",
        "   200 turns, the loss on 50 dialogues: about 9 of 9 trials",
        "  1600 turns, 50 dialogues: about ",
        "minutes of one core, ",
        "disk: about",
        "assumed: tiny: 1M parameters",
    ):
        assert line in out
    assert not (tmp_path / "runs").exists()
    assert main(["--resume", "x", "--dry-run", "--storage", str(tmp_path)]) == 2
    assert "tune.status x" in capsys.readouterr().err


def test_a_folder_without_weights_is_counted_from_its_config(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(PYTHIA_70M))
    assert read_sizes(str(tmp_path)).total_params == pytest.approx(70.4e6, rel=0.02)


def test_a_mixture_s_experts_are_told_and_no_adapter_takes_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shape = {"hidden_size": 64, "num_attention_heads": 2, "num_key_value_heads": 2}
    shape |= {"intermediate_size": 128, "num_hidden_layers": 3, "vocab_size": 100}
    MixtralConfig(**shape, num_local_experts=4).save_pretrained(tmp_path)
    sizes = read_sizes(str(tmp_path))
    assert sizes.expert_params == 3 * 4 * 3 * 64 * 128
    assert sizes.count_adapter(spell_lora("all-linear", 8)) == 3 * 4 * 8 * (
        64 + 64
    )  # of attention alone
    trial = TrialConfig(method="none", base_model=str(tmp_path), double_quantisation=True)
    tell_experts([trial])
    assert "0.00055 GiB of memory: they are neither quantised" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="lora_modules='ffn' must match a linear layer"):
        check_layers(str(tmp_path), [spell_lora("ffn", 8, base_model=str(tmp_path))])


def test_the_default_sweep_of_a_7b_model_fits_thirty_gib(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """48 trials, eight at a time on one GPU: a trial that runs keeps one checkpoint that it can go
    on from, one that has ended its adapter alone, and those that wait at a rung 12 GiB in all."""
    folder = tmp_path / "llama-7b"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(LLAMA_7B))
    monkeypatch.setattr("tune.plan.estimate.count_gpus", lambda: 1)
    base = {**BASES["lab"], "base_model": str(folder), "corpus": "cambridge"}
    flags = {"name": "s", "space": "lora_modules", "storage": str(tmp_path / "runs"), "base": base}
    config = replace(compose("lab", flags), rung_metric="loss")
    space = find_space("lora_modules")
    cost = estimate(config, space)
    assert (config.trials, cost.room) == (48, 8)
    gib = 2**30
    largest = spell_lora("all-linear", 64, base_model=str(folder))
    assert count_checkpoint_bytes(largest) == 16 * 159907840
    assert 20 * gib < cost.disk.peak < 30 * gib and cost.disk.kept < 5 * gib
    assert cost.disk.most < 60 * gib
    assert "trials train again up to their rung" in describe_plan(config, space, cost)
    all_kept = estimate(replace(config, parked_gib=100), space)
    assert 60 * gib < all_kept.disk.peak < 80 * gib
    assert "train again" not in describe_plan(config, space, all_kept)
    assert all_kept.turnout.reached == cost.turnout.reached
    assert all_kept.hours < cost.hours < 1.08 * all_kept.hours
    stopped = estimate(replace(config, asha="stop"), space).disk
    assert 10 * gib < stopped.peak < 30 * gib and stopped.most < 50 * gib
