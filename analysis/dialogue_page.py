"""Example dialogues for the report's page as HTML."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape

from analysis.examples import Example, Exchange

SLOT = re.compile(r"\[[\w ]+\]")


def show_dialogues(examples: Sequence[Example]) -> str:
    if not examples:
        return '<p class="note">No generated dialogues are recorded.</p>'
    note = ""
    if examples[0].exchanges and examples[0].exchanges[0].user is None:
        note = '<p class="note">The corpus is not at hand: users and gold replies are left out.</p>'
    return note + "".join(_show_example(e, i == 0) for i, e in enumerate(examples))


def _show_example(example: Example, is_open: bool) -> str:
    outcomes = ", ".join(f"{trial}: {how}" for trial, how in example.outcomes.items())
    turns = "".join(_show_exchange(e) for e in example.exchanges)
    return (
        f"<details{' open' if is_open else ''}><summary>{escape(example.dialogue)} "
        f"<span>{escape(outcomes)}</span></summary>{turns}</details>"
    )


def _show_exchange(exchange: Exchange) -> str:
    user = "" if exchange.user is None else _show_speech("user", exchange.user)
    gold = "" if exchange.gold is None else _show_reply("corpus", exchange.gold, "gold")
    replies = "".join(_show_reply(f"trial {r.trial}", r.text) for r in exchange.replies)
    return f'<div class="exchange">{user}<div class="replies">{gold}{replies}</div></div>'


def _show_speech(who: str, text: str) -> str:
    return f'<p class="user"><span class="who">{escape(who)}</span>{escape(text)}</p>'


def _show_reply(who: str, text: str, kind: str = "") -> str:
    marked = SLOT.sub(lambda m: f"<mark>{m[0]}</mark>", escape(text)) or "<em>empty</em>"
    return f'<div class="{kind}"><span class="who">{escape(who)}</span><p>{marked}</p></div>'
