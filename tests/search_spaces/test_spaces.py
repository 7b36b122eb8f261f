"""Every space is data that spells whole configs, and nothing twice."""

import json
import random
from pathlib import Path
from typing import Any

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from search_spaces.decoding import PLAIN
from search_spaces.distributions import contains
from search_spaces.find import find_space, list_spaces
from search_spaces.space import Space
from trainable.trial import CHOICES, CONDITIONS, ConfigError, TrialConfig
from tune.plan.checks import check_space
from tune.search.profiles import BASES, compose
from tune.search.proposals import Tried, propose


def draw(generator: random.Random) -> Any:
    def choose(name: str, distribution: Any) -> Any:
        if isinstance(distribution, CategoricalDistribution):
            return generator.choice(distribution.choices)
        if isinstance(distribution, IntDistribution):
            return generator.randrange(
                distribution.low, distribution.high + 1, distribution.step or 1
            )
        return generator.uniform(distribution.low, distribution.high)

    return choose


@pytest.mark.parametrize("profile", sorted(BASES))
@pytest.mark.parametrize("name", list_spaces())
def test_fifty_samples_spell_valid_configs_that_survive_json(name: str, profile: str) -> None:
    space, base = find_space(name), compose(profile, {"name": "x", "space": name}).base
    assert not set(space.searched) & set(space.fixed)
    for seed in range(50):
        point = space.sample(draw(random.Random(seed)))
        config = space.to_config(point, base)
        assert all(getattr(config, field) == value for field, value in point.items())
        assert TrialConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize("name", list_spaces())
def test_a_space_survives_json_and_has_first_points(name: str) -> None:
    space = find_space(name)
    assert Space.from_dict(json.loads(json.dumps(space.to_dict()))) == space
    assert space.first, "the lab's own setting is tried first"


def test_a_field_searched_and_fixed_is_refused() -> None:
    with pytest.raises(ConfigError, match="lora_rank is both searched and fixed"):
        Space(
            name="x",
            question="?",
            searched={"lora_rank": IntDistribution(1, 8)},
            fixed={"lora_rank": 4},
        )


def test_an_unknown_field_and_a_first_point_outside_are_refused() -> None:
    with pytest.raises(ConfigError, match="'lora_rnk'"):
        Space(name="x", question="?", searched={"lora_rnk": IntDistribution(1, 8)})
    with pytest.raises(ConfigError, match="lies outside"):
        Space(
            name="x",
            question="?",
            searched={"lora_rank": IntDistribution(1, 8)},
            first=({"lora_rank": 9},),
        )


def test_conditional_fields_exist_only_under_their_decider() -> None:
    space = Space(
        name="x",
        question="?",
        searched={
            "decoding": CategoricalDistribution(("greedy", "sampling")),
            "temperature": FloatDistribution(0.1, 1.0),
            "lora_rank": IntDistribution(2, 8),
            "lora_dropout": FloatDistribution(0.0, 0.5),
        },
        conditions={"lora_dropout": ("decoding", ("sampling",))},
    )
    base = {**BASES["tiny"], "warmup_turns": 0, "train_turns": 10}
    seen = set()
    for seed in range(20):
        point = space.sample(draw(random.Random(seed)))
        is_sampling = point["decoding"] == "sampling"
        assert ("temperature" in point) == ("lora_dropout" in point) == is_sampling
        space.to_config(point, base)
        seen.add(is_sampling)
    assert seen == {True, False}


def test_a_searched_decider_drops_the_profile_s_fields_without_a_meaning() -> None:
    space = Space(
        name="x",
        question="?",
        searched={"quantisation": CategoricalDistribution(("nf4", "bf16"))},
    )
    base = {**BASES["tiny"], "warmup_turns": 0, "train_turns": 10}
    assert space.to_config({"quantisation": "bf16"}, base).double_quantisation is None
    assert space.to_config({"quantisation": "nf4"}, base).double_quantisation is True
    with pytest.raises(ConfigError, match="double_quantisation"):
        space.fix({"quantisation": "bf16", "double_quantisation": True}).to_config({}, base)


def test_fixing_a_field_searches_it_no_more() -> None:
    space = find_space("lora_modules").fix({"learning_rate": 1e-3})
    assert set(space.searched) == {"lora_modules"}
    assert [p["lora_modules"] for p in space.first].count("all-linear") == 1
    assert all(contains(space.searched["lora_modules"], p["lora_modules"]) for p in space.first)


DECIDERS = list(dict.fromkeys(decider for decider, _, _ in CONDITIONS))


@pytest.mark.parametrize("name", list_spaces())
@pytest.mark.slow
def test_any_choice_of_a_deciding_field_may_be_fixed(name: str) -> None:
    space, base = find_space(name), compose("tiny", {"name": "x", "space": name}).base
    trains = space.fixed.get("method") != "none"
    for decider in (d for d in DECIDERS if d not in space.fixed and (trains or d != "schedule")):
        for choice in CHOICES[decider]:
            fixed = space.fix({decider: choice, **NEEDED.get(choice, {})})
            check_space(fixed, base)
            history: list[Tried] = []
            for number in range(12):
                point = propose(fixed, history, 0, number)
                if point is None:
                    break
                history.append(Tried(params=point, state="RUNNING"))
            assert len({frozenset(t.params.items()) for t in history}) == len(history) > 0


NEEDED = {"wsd": {"decay_fraction": 0.2}, "beam": {"num_beams": 2}, "contrastive": {"top_k": 4}}
NEEDED["contrastive"] |= {"penalty_alpha": 0.5}
NEEDED |= {choice: {"double_quantisation": False} for choice in ("nf4", "fp4")}


def test_a_space_of_the_user_s_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "from optuna.distributions import IntDistribution\n"
        "from search_spaces.space import Space\n"
        "SPACE = Space(name='mine', question='?', searched={'lora_rank': IntDistribution(1, 8)})\n"
    )
    assert find_space(str(path)).name == "mine"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no space is called"),
        ("SPACE = 3", "must define SPACE"),
        ("import nowhere_to_be_found", "cannot be read: ModuleNotFoundError"),
        ("SPACE = (", "cannot be read: SyntaxError"),
    ],
)
def test_a_broken_space_file_is_one_line(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "broken.py"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=message):
        find_space(str(path))


def test_a_path_may_be_relative_in_any_spelling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "from search_spaces.lora_rank import SPACE as S\nSPACE = S\n"
    (tmp_path / "mine.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    assert find_space("./mine.py") == find_space("mine.py") == find_space("lora_rank")


def test_lengths_are_in_proportion_to_the_sweep_s() -> None:
    space = find_space("lr_steps").fit_lengths(800)
    lengths: Any = space.searched["train_turns"]
    assert lengths.choices == (100, 200, 400, 800)
    assert {p.get("train_turns") for p in space.first} == {None, 800, 100}
    assert find_space("qlora").fit_lengths(800) == find_space("qlora")


def test_only_a_rate_that_leads_to_its_end_has_a_length_of_its_own() -> None:
    space = find_space("lr_steps")
    for seed in range(20):
        point = space.sample(draw(random.Random(seed)))
        assert ("train_turns" in point) == (point["schedule"] in ("linear", "cosine"))
        config = space.to_config(point, compose("tiny", {"name": "x", "space": "lr_steps"}).base)
        assert (config.decay_fraction is not None) == (config.schedule == "wsd")


def test_a_decoding_s_settings_exist_under_it_alone() -> None:
    space, base = find_space("decoding"), compose("lab", {"name": "x", "space": "decoding"}).base
    own = {
        "greedy": set(),
        "sampling": {"temperature", "top_k", "top_p", "typical_p"},
        "beam": {"num_beams", "length_penalty"},
        "contrastive": {"top_k", "penalty_alpha"},
    }
    seen = set()
    for seed in range(30):
        point = space.sample(draw(random.Random(seed)))
        settings = set(point) - {"decoding", *PLAIN}
        assert settings == own[point["decoding"]]
        config = space.to_config(point, base)
        assert config.method == "none" and config.train_turns == 0 and config.lora_rank is None
        seen.add(point["decoding"])
    assert seen == set(own)
