"""A space says what it means in any order; what could never be searched is one line."""

from __future__ import annotations

import random
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from search_spaces.enumeration import list_points
from search_spaces.find import find_space
from search_spaces.notation import read_space
from search_spaces.space import Space
from trainable.trial import ConfigError
from tune.search.profiles import BASES
from tune.search.proposals import Tried, draw, propose

RANK, RATE = IntDistribution(2, 3), FloatDistribution(1e-4, 1e-1, log=True)
DECODING = CategoricalDistribution(("greedy", "sampling"))
SEEDS = CategoricalDistribution((1, 2))
# seed 2 only with rank 3, a warmup only with seed 2: a chain
CHAIN: dict[str, BaseDistribution] = {
    "lora_rank": RANK,
    "seed": SEEDS,
    "warmup_turns": IntDistribution(5, 6),
}
CONDITIONS = {"seed": ("lora_rank", (3,)), "warmup_turns": ("seed", (2,))}


def make(**settings: Any) -> Space:
    return Space(**{"name": "x", "question": "?", "searched": {"lora_rank": RANK}, **settings})


@pytest.mark.parametrize("shuffle", range(6))
def test_the_order_of_fields_and_conditions_does_not_matter(shuffle: int) -> None:
    fields, conditions = list(CHAIN.items()), list(CONDITIONS.items())
    random.Random(shuffle).shuffle(fields)
    random.Random(shuffle + 9).shuffle(conditions)
    space = make(searched=dict(fields), conditions=dict(conditions))
    points = {frozenset(p.items()) for p in draw(space, 1, 200)}
    assert points == {frozenset(p.items()) for p in list_points(space)}
    assert {frozenset(dict(p)) for p in points} == {
        frozenset({"lora_rank"}),
        frozenset({"lora_rank", "seed"}),
        frozenset({"lora_rank", "seed", "warmup_turns"}),
    }
    fixed = space.fix({"lora_rank": 2})
    assert not fixed.searched and not fixed.conditions


def test_what_a_builtin_decider_decides_may_stand_before_it() -> None:
    later = {"top_p": FloatDistribution(0.5, 0.9), "decoding": DECODING}
    points = draw(make(searched=later), 1, 40)
    assert all(("top_p" in p) == (p["decoding"] == "sampling") for p in points)
    assert any("top_p" in p for p in points)


def test_a_decider_that_only_the_profile_states() -> None:
    base = BASES["tiny"]
    space = make(conditions={"lora_rank": ("response", ("delexicalised",))}).on(base)
    assert all("lora_rank" in p for p in draw(space, 1, 5))
    assert space.fixed == {"response": "delexicalised"} and space.on(base) == space
    assert Space.from_dict(space.to_dict()) == space
    lexicalised = make(conditions={"lora_rank": ("response", ("lexicalised",))})
    with pytest.raises(ConfigError, match="searched only under response=lexicalised, and response"):
        lexicalised.on(base)
    default = make(conditions={"lora_rank": ("target", ("response",))}).on(base)  # TrialConfig's
    assert draw(default, 1, 1)[0]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"searched": {"lora_rnk": RANK}}, r"'lora_rnk' \(did you mean lora_rank\?\)"),
        ({"conditions": {"lora_rank": ("decodng", ("greedy",))}}, r"did you mean decoding\?"),
        ({"conditions": {"lora_rank": ("decoding", ("greed",))}}, r"did you mean greedy\?"),
        ({"conditions": {"lora_rnk": ("decoding", ("greedy",))}}, r"did you mean lora_rank\?"),
        ({"conditions": {"seed": ("decoding", ("greedy",))}}, "seed among the searched fields"),
        ({"conditions": {"lora_rank": ("decoding", "greedy")}}, r"\(value, ...\)\), not"),
        ({"conditions": {"lora_rank": "decoding"}}, r"is \(deciding field, \(value, ...\)\)"),
        (
            {
                "searched": {"lora_rank": RANK, "decoding": DECODING},
                "conditions": {"lora_rank": ("decoding", ("beam",))},
            },
            "decoding is never that",
        ),
        (
            {"searched": CHAIN, "conditions": {"lora_rank": ("seed", (9,))}},
            "seed=9, and seed is never that",
        ),
        (
            {"searched": CHAIN, "conditions": {**CONDITIONS, "lora_rank": ("warmup_turns", (5,))}},
            "lora_rank, seed, warmup_turns exist only under each other's values",
        ),
        ({"conditions": {"lora_rank": ("lora_rank", (2,))}}, "only under each other's values"),
        (
            {
                "searched": {"decoding": DECODING, "top_p": RATE},
                "conditions": {"decoding": ("top_p", (1e-4,))},
            },
            "decoding, top_p exist only under each other's values",
        ),
        (
            {"fixed": {"decoding": "greedy"}, "searched": {"top_p": RATE}},
            "top_p is searched only under decoding=sampling, and decoding is 'greedy'",
        ),
        (
            {"fixed": {"method": "none"}, "searched": {"decay_fraction": RATE}},
            "never exists: its deciding field does not, either",
        ),
        ({"searched": {"lora_rank": [8, 16]}}, r"write CategoricalDistribution\(\(8, 16\)\)"),
        ({"searched": {"lora_rank": (8, 16)}}, r"write CategoricalDistribution\(\(8, 16\)\)"),
        ({"searched": {"lora_rank": 8}}, "to fix it, put it under fixed"),
        ({"searched": {"lora_dropout": FloatDistribution(0.0, float("inf"))}}, "finite ends"),
        ({"first": {"lora_rank": 2}}, "a comma after a single point"),
        ({"first": ({"lora_rnk": 2},)}, r"did you mean lora_rank\?"),
    ],
)
def test_each_mistake_is_one_line(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        make(**settings)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("end", ["4.5, 64", "4, 64.5", "4, 64, step=1.5"])
def test_an_integer_s_end_that_is_none_is_refused_in_a_file(tmp_path: Path, end: str) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "from optuna.distributions import IntDistribution\n"
        "from search_spaces.space import Space\n"
        f"SPACE = Space(name='x', question='', searched={{'lora_rank': IntDistribution({end})}})\n"
    )
    with pytest.raises(ConfigError, match=r"mine.py: an IntDistribution has .*=.*\.5: give"):
        find_space(str(file))
    assert IntDistribution(4.5, 64).low == 4  # type: ignore[arg-type]  # as Optuna would


def test_a_space_is_proposed_to_its_last_point() -> None:
    searched = {"lora_rank": IntDistribution(1, 50), "seed": IntDistribution(0, 9)}
    space = make(searched=searched)
    points = list(list_points(space))
    assert len(points) == 500
    random.Random(0).shuffle(points)
    history = [Tried(params=p, state="FAIL") for p in points[:497]]
    for number in range(497, 500):
        point = propose(space, history, 0, number)
        assert point is not None and point not in [t.params for t in history]
        history.append(Tried(params=point, state="FAIL"))
    assert propose(space, history, 0, 500) is None


def test_points_are_listed_without_being_counted() -> None:
    huge = make(searched={"seed": IntDistribution(0, 2**31 - 1), "lora_rank": RANK})
    assert list(islice(list_points(huge), 3)) == [
        {"seed": 0, "lora_rank": 2},
        {"seed": 0, "lora_rank": 3},
        {"seed": 1, "lora_rank": 2},
    ]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"conditions": ["lora_rank"]}, "conditions must be fields, each with"),
        ({"conditions": {"lora_rank": "decoding"}}, r"must be \[deciding field, \[value"),
        ({"conditions": {"lora_rank": ["decoding", "greedy"]}}, r"must be \[deciding field"),
        ({"conditions": {"lora_rank": [["decoding"], ["greedy"]]}}, r"must be \[deciding field"),
        ({"first": 8}, "first must be a list of points"),
        ({"fixed": "tiny"}, "fixed must be fields"),
        ({"name": 7}, "name must be a text"),
        ({"searched": ["lora_rank"]}, "searched must be fields"),
        ({"searched": {}}, "and this one none"),
        ({"searched": {8: [8, 16]}}, "no field is called 8"),
        ({"searched": {"lora_rank": {"low": True, "high": 3}}}, "over a list of choices or"),
        ({"searched": {"lora_rank": {"low": 8, "high": None}}}, "over a list of choices or"),
        ({"searched": {"seed": {"low": 1, "high": 3, "log": "yes"}}}, "over a list of choices or"),
        ({"searched": {"seed": {"low": 3, "high": 1}}}, "seed cannot be searched over"),
    ],
)
def test_each_mistake_of_a_mapping_is_one_line(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        read_space({"searched": {"lora_rank": [2, 3]}, **values})
    assert "\n" not in str(caught.value)
