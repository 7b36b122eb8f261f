"""What a card says that the model reads."""

from __future__ import annotations

from typing import Any

import pytest

from trainable.trial import TrialConfig
from tune.export.guidance import describe_input

BOOKED = "history+state+db+booked"


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({}, "It reads what was said so far."),
        (
            {"context": BOOKED, "requests": True},
            "It reads what was said so far, the dialogue's state (`state>`, with what the user "
            "asks for as `phone = ?`), how many rows of the database match it (`db>`) and the "
            "domains with something booked by then, if any (`booked>`).",
        ),
        (
            {"target": "state+plan+response"},
            "It reads what was said so far and the state, which it writes itself before it replies."
            " It writes a reply's placeholders first, then `bot>` and the reply.",
        ),
        (
            {"target": "acts+response"},
            "It reads what was said so far. It writes what a reply does (its acts) first, then "
            "`bot>` and the reply.",
        ),
    ],
)
def test_what_stands_in_front_of_a_reply_is_told(fields: dict[str, Any], told: str) -> None:
    config = TrialConfig(quantisation="fp32", method="none", **fields)
    assert describe_input(config) == told
