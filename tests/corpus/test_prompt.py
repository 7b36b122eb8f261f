"""The lines that a model reads and writes, and the windows that they are cut into."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from trainable.corpus.encode import SpecialTokens, encode
from trainable.corpus.prompt import cut_plan, parse_state, render, render_matches
from trainable.dialogue.database import Database
from trainable.dialogue.dialogue import Dialogue, Turn
from trainable.trial import ConfigError, TrialConfig

CHEAP = 9  # hotels, of 19
HOTELS = [
    {"id": str(n), "name": f"hotel {n}", "pricerange": "cheap" if n < CHEAP else "moderate"}
    for n in range(19)
]
DATABASE = Database({"hotel": HOTELS, "train": [{"trainID": "TR1", "day": "monday"}]})
STATES = ({"hotel": {"pricerange": "cheap"}}, {"hotel": {"pricerange": "cheap", "area": "west"}})
TURNS = tuple(
    Turn(
        user=f"ask {number}",
        response=f"it is {number}",
        delexicalised=f"it is [n] {number}",
        state=state,
        booked=(),
    )
    for number, state in enumerate(STATES)
)
DIALOGUE = Dialogue(id="d", turns=TURNS, goal={})


def make_config(**changes: Any) -> TrialConfig:
    return TrialConfig(**{"method": "none", "quantisation": "fp32", **changes})


def read(config: TrialConfig, dialogue: Dialogue = DIALOGUE) -> tuple[str, list[str]]:
    """All that stands there, and of it what is learnt."""
    segments = render(dialogue, config, DATABASE)
    return "".join(s.text for s in segments), [s.text for s in segments if s.is_target]


@pytest.mark.parametrize(
    ("context", "lines"),
    [
        ("history", ""),
        ("history+state", "state> hotel pricerange = cheap\n"),
        ("history+state+db", "state> hotel pricerange = cheap\ndb> hotel 9\n"),
    ],
)
def test_a_turn_s_lines(context: str, lines: str) -> None:
    text, learnt = read(make_config(context=context))
    assert text.startswith(f"user> ask 0\n{lines}bot> it is [n] 0\nuser> ask 1\n")
    assert learnt == [" it is [n] 0", " it is [n] 1"]


def test_what_is_booked_by_then_is_told_once_something_is() -> None:
    first, second = TURNS
    dialogue = replace(DIALOGUE, turns=(first, replace(second, booked=("train", "hotel"))))
    text, _ = read(make_config(context="history+state+db+booked"), dialogue)
    before, after = text.split("ask 1")
    assert "booked>" not in before
    assert after.endswith("\ndb> hotel 9\nbooked> hotel train\nbot> it is [n] 1")


def test_what_else_is_read_and_learnt() -> None:
    text, learnt = read(make_config(instruction="Be brief.", response="lexicalised"))
    assert text.startswith("Be brief.\nuser> ask 0\nbot> it is 0\n")
    assert learnt == [" it is 0", " it is 1"]
    text, learnt = read(make_config(target="state+response", context="history+state+db"))
    assert text.startswith("user> ask 0\nstate> hotel pricerange = cheap\ndb> hotel 9\nbot> ")
    assert learnt[:2] == [" hotel pricerange = cheap", " it is [n] 0"]


def test_a_plan_is_the_reply_s_placeholders_in_front_of_it() -> None:
    config = make_config(target="plan+response")
    text, learnt = read(config)
    assert text.startswith("user> ask 0\nplan> [n]\nbot> it is [n] 0\nuser> ask 1\nplan> ")
    assert learnt == [" [n]\nbot> it is [n] 0", " [n]\nbot> it is [n] 1"]
    assert [cut_plan(each.strip(), config) for each in learnt] == ["it is [n] 0", "it is [n] 1"]
    _, learnt = read(make_config(target="state+plan+response", response="lexicalised"))
    assert learnt[:2] == [" hotel pricerange = cheap", " [n]\nbot> it is 0"]
    (window,) = cut(target="plan+response")
    assert [reply.words for reply in window.replies] == [4, 4]
    assert spell(window.ids[: window.prompts[0]]) == "<s>user> ask 0\nplan>"


def test_a_plan_of_acts_is_what_the_corpus_tells() -> None:
    """Of a turn without acts, the placeholders."""
    first, second = TURNS
    dialogue = replace(DIALOGUE, turns=(first, replace(second, acts="hotel inform [n]")))
    config = make_config(target="acts+response")
    text, learnt = read(config, dialogue)
    assert learnt == [" [n]\nbot> it is [n] 0", " hotel inform [n]\nbot> it is [n] 1"]
    assert text.startswith("user> ask 0\nplan> [n]\nbot> ")
    assert [cut_plan(each.strip(), config) for each in learnt] == ["it is [n] 0", "it is [n] 1"]
    assert read(make_config(target="plan+response"), dialogue)[1][1] == " [n]\nbot> it is [n] 1"
    _, learnt = read(make_config(target="state+acts+response"), dialogue)
    assert learnt[2:] == [
        " hotel area = west , pricerange = cheap",
        " hotel inform [n]\nbot> it is [n] 1",
    ]


def test_what_a_user_asks_for_stands_in_the_state() -> None:
    asking = replace(TURNS[0], requested={"hotel": ["phone"], "train": ["price"]})
    dialogue = replace(DIALOGUE, turns=(asking,))
    line = "hotel phone = ? , pricerange = cheap ; train price = ?"
    text, _ = read(make_config(context="history+state", requests=True), dialogue)
    assert text.startswith(f"user> ask 0\nstate> {line}\nbot>")
    _, learnt = read(make_config(target="state+response", requests=True), dialogue)
    assert learnt[0] == f" {line}" and parse_state(line) == {"hotel": {"pricerange": "cheap"}}
    text, _ = read(make_config(context="history+state"), dialogue)
    assert "?" not in text
    with pytest.raises(ConfigError, match="requests=true needs a state"):
        make_config(requests=True)


@pytest.mark.parametrize(
    ("state", "line"),
    [
        ({"hotel": {"pricerange": "cheap"}}, "hotel 9"),
        ({"hotel": {"pricerange": "moderate"}}, "hotel 10+"),
        ({"hotel": {"pricerange": "expensive"}}, "hotel 0"),
        ({"train": {"day": "monday"}, "hotel": {"pricerange": "cheap"}}, "hotel 9 ; train 1"),
        ({"hotel": {}, "train": {"day": "monday"}}, "train 1"),
        ({"taxi": {"leaveat": "09:00"}}, "none"),
        ({}, "none"),
    ],
)
def test_the_matches_of_each_domain_that_is_asked_about(state: Any, line: str) -> None:
    assert render_matches(state, DATABASE) == line


def test_a_state_that_makes_no_sense_is_left_out() -> None:
    assert parse_state("none") == parse_state("hotel") == parse_state("") == {}
    assert parse_state("hotel area west , stars = 4 ; ; = 3") == {"hotel": {"stars": "4"}}


def tokenise(texts: list[str]) -> list[list[int]]:
    """A token a character."""
    return [list(map(ord, text)) for text in texts]


def cut(**changes: Any) -> list[Any]:
    return encode([DIALOGUE], make_config(**changes), DATABASE, tokenise, SpecialTokens((1,), 2))


def spell(ids: Any) -> str:
    return "".join({1: "<s>", 2: "</s>"}.get(i, chr(i)) for i in ids)


FIRST = "user> ask 0\nbot> it is [n] 0</s>"
SECOND = "\nuser> ask 1\nbot> it is [n] 1</s>"
WHOLE = f"<s>{FIRST}{SECOND}"
N_WHOLE = 1 + 2 * len("user> ask 0\nbot> it is [n] 0") + 1 + 2  # tokens


def test_a_dialogue_that_just_fits_is_one_window() -> None:
    (window,) = cut(max_length_tokens=N_WHOLE)
    assert len(window.ids) == N_WHOLE and spell(window.ids) == WHOLE
    assert spell(window.ids[window.is_target]) == " it is [n] 0</s> it is [n] 1</s>"
    assert [spell(window.ids[:n]) for n in window.prompts] == [
        "<s>user> ask 0\nbot>",
        f"<s>{FIRST}\nuser> ask 1\nbot>",
    ]


@pytest.mark.parametrize(
    ("changes", "texts"),
    [
        (
            {"max_length_tokens": N_WHOLE - 1},
            [f"<s>{FIRST}", f"<s>{SECOND}"],
        ),
        ({"max_length_tokens": N_WHOLE, "format": "turns"}, [f"<s>{FIRST}", WHOLE]),
    ],
)
def test_others_learn_each_reply_once(changes: dict[str, Any], texts: list[str]) -> None:
    windows = cut(**changes)
    assert [spell(window.ids) for window in windows] == texts
    assert [window.turns for window in windows] == [(0,), (1,)]
    learnt = [spell(window.ids[window.is_target]) for window in windows]
    assert learnt == [" it is [n] 0</s>", " it is [n] 1</s>"]


def test_an_exchange_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ConfigError, match="turn 1 of dialogue d needs 31 tokens"):
        cut(max_length_tokens=30)
