"""A configuration without a search, and a sweep's first points by the same rule."""

from __future__ import annotations

import itertools
import json
import runpy
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import pytest

from search_spaces.find import find_space
from tune.plan.evidence import PACKAGED, RecordedPoint, predict, read_packaged, to_point
from tune.plan.new import plan_sweep
from tune.plan.recommendation import (
    LeftOutSweep,
    find_doubt,
    leave_one_out,
    recommend,
    settle_rate,
    start_well,
)
from tune.recommend import main
from tune.run import build_parser
from tune.search.profiles import BASES
from tune.simulate.curves import Formula
from tune.simulate.outcome import simulate

COLLECT = Path(__file__).parents[2] / "analysis/results/recommend/collect.py"
TINY = {**BASES["tiny"], "train_turns": 1600, "warmup_turns": 0}
TOY = {**TINY, "base_model": "toy"}


def test_a_sweep_left_out_is_chosen_from_far_better_than_at_random() -> None:
    """Of models of a size that other sweeps are of; the embedded one has a pool alone."""
    *held, pool, alone = leave_one_out(read_packaged())
    assert len(held) >= 6 and (pool.points, alone.sweep) == (64, "curves/embedded")
    alike = [*held, pool]
    assert fmean(h.picked for h in alike) < fmean(h.random for h in alike) / 6
    assert alone.picked < alone.random


@pytest.mark.slow
def test_what_ships_is_what_was_recorded() -> None:
    collected = runpy.run_path(str(COLLECT))["collect"]()
    assert [*read_packaged()] == collected
    assert PACKAGED.stat().st_size < 200_000


def test_the_gain_is_the_mean_over_all_draws() -> None:
    gaps = (0.0, 3.0, 5.0, 9.0)
    held = LeftOutSweep(sweep="s", points=4, picked=5.0, random=4.25, gaps=gaps)
    for n in (1, 2, 3, 4):
        draws = list(itertools.combinations(gaps, n))
        assert held.gain(n) == pytest.approx(fmean(max(5.0 - min(d), 0.0) for d in draws))
    assert held.gain(100) == 5.0


def test_the_point_has_the_best_effective_rate_whatever_is_fixed() -> None:
    seen, rates = read_packaged(), {}
    for rank in (16, 64):
        space = find_space("qlora").fix({"lora_rank": rank})
        assert space.holds(recommend(space, TINY, 1e6, seen))
        point = {**space.first[0], "alpha_over_rank": 2.0}
        settled = settle_rate(space, TINY, 1e6, point, -3.0)
        assert settled is not None
        rates[rank] = settled["learning_rate"]
        whole = to_point({**TINY, **space.fixed, **settled}, 1e6)
        assert whole.rate == pytest.approx(-3.0, abs=0.03)  # two digits are enough
    assert rates[16] / rates[64] == pytest.approx((64 / 16) ** 0.58, rel=0.1)
    large = recommend(find_space("qlora"), BASES["lab"], 6.7e9, seen)
    small = recommend(find_space("qlora"), BASES["lab"], 1e8, seen)
    assert large["learning_rate"] < small["learning_rate"] / 5
    assert large["lora_modules"] == small["lora_modules"]


@pytest.mark.parametrize(
    ("params", "rate", "said"),
    [
        (1.2e6, 8e-3, "no recorded setting of a model of this size had a higher rate"),
        (1.2e6, 5e-4, ""),
        (1.3e8, 2e-3, ""),
        (1.3e8, 1e-7, "no recorded setting of a model of this size had a lower rate"),
        (6.7e9, 2e-4, "no recorded sweep is of a model of this size, only of 1M and 135M"),
    ],
)
def test_a_rate_that_the_records_do_not_reach_past_is_doubted(
    params: float, rate: float, said: str
) -> None:
    setting = {**TINY, "lora_rank": 49, "alpha_over_rank": 2.8, "batch_turns": 32}
    doubt = find_doubt({**setting, "learning_rate": rate}, params, read_packaged())
    assert doubt.startswith(said) and bool(doubt) == bool(said)


def test_where_nothing_alike_was_seen_the_mean_is_predicted() -> None:
    config = dict(read_packaged()[0].config)
    seen = [RecordedPoint(sweep="s", params=1e6, config=config, gap=g) for g in (2.0, 4.0)]
    far = to_point({**config, "learning_rate": 1e-9}, 1e6)
    near = seen[0].point
    assert predict([far, near], seen) == pytest.approx([3.0, 3.0])


def test_first_points_are_the_labs_own_then_the_recommended() -> None:
    space = find_space("lora_modules")
    first = start_well(space, TOY).first
    assert first[0] == space.first[0]
    assert {p["lora_modules"] for p in first} == {p["lora_modules"] for p in space.first}
    assert len({p["learning_rate"] for p in first[1:]}) == 1
    for name in ("from_scratch", "model_size", "lora_rank", "decoding"):
        assert start_well(find_space(name), TOY).first == find_space(name).first
    assert start_well(space, TINY) == space  # whose own were chosen on the embedded model
    fixed = find_space("qlora").fix({"method": "full"})
    assert start_well(fixed, TOY) == fixed


def test_first_points_cost_a_short_sweep_nothing() -> None:
    """The toy, which no evidence is of, under four draws of its noise: eight trials end no further
    from its best than eight random ones do."""
    curves, ours = Formula(), []
    for seed in range(4):
        base = {**curves.config.base, "seed": seed}
        curves.config = replace(curves.config, trials=8, base=base)
        ours += [simulate(curves, "tpe", 1, 8, order) for order in range(4)]
    assert fmean(o.regret for o in ours) < fmean(o.random_regret for o in ours)


def test_the_command(capsys: pytest.CaptureFixture[str]) -> None:
    wanted = ["tiny", "--dialogues", "100", "--minutes", "5", "--set", "lora_rank=52"]
    assert main([*wanted, "--profile", "tiny", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["command"] == "recommend"
    assert facts["config"]["lora_rank"] == 52
    assert 0 < facts["expected_gain"] <= facts["expected_regret"] < facts["random_regret"]
    assert main([*wanted, "--profile", "tiny"]) == 0
    printed = capsys.readouterr().out
    assert "--set lora_rank=52" in printed and "--trials 1" in printed
    assert "The best rate may lie elsewhere: no recorded setting" in printed
    assert "points of Combined below the best setting of a sweep" in printed


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--dialogues", "0"], "--dialogues must be above 0"),
        (["--dialogues", "9", "--minutes", "-1"], "--minutes must be above 0"),
        (["--dialogues", "9", "--from", "analysis/example/decoding"], "at least 12 settings"),
        (["--dialogues", "9", "--space", "qlra"], "did you mean qlora"),
    ],
)
def test_bad_input_is_one_line(
    flags: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["tiny", *flags]) == 2
    said = capsys.readouterr().err
    assert told in said and said.count("\n") == 1


def test_the_first_points_of_a_space_of_one_s_own_are_kept(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from dataclasses import replace\nfrom search_spaces.lora_modules import SPACE as OURS\n"
        'FIRST = {"lora_modules": "qv", "learning_rate": 3e-4}\n'
        'SPACE = replace(OURS, name="mine", first=(FIRST,))\n'
    )
    flags = ("--set", "base_model=toy", "--storage", str(tmp_path), "--name", "s")
    own, ours = (
        plan_sweep(build_parser().parse_args(["--space", space, *flags])).space.first
        for space in (str(file), "lora_modules")
    )
    assert own == ({"lora_modules": "qv", "learning_rate": 3e-4},)
    assert ours != find_space("lora_modules").first
