"""What a card says of a model's use: what for, how far it goes, with which packages."""

from collections.abc import Mapping
from typing import Any

from trainable.corpus.prompt import finds_state, has_plan, plans_acts
from trainable.trial import TrialConfig

QUANTISED = ("nf4", "fp4", "int8")
LIBRARIES = ("torch", "transformers", "peft", "bitsandbytes")


def describe_use(config: TrialConfig, data: str) -> str:
    """What the model is for, and what it should not be trusted with."""
    placeholders = (
        "Its replies hold placeholders such as `[name]` and `[phone]`: a system looks up their "
        "values in its own database and puts them in. "
        if config.response == "delexicalised"
        else "It writes names and numbers itself, from memory: they may be wrong. "
    )
    state = (
        "It expects the dialogue's state in its prompt, so that a state tracker has to stand in "
        "front of it. "
        if "state" in config.context and not finds_state(config)
        else ""
    )
    return (
        "## Intended use and limits\n\nFor research on task-oriented dialogue: it writes the "
        f"system's next turn in conversations like those of {data}, in English, about that "
        f"corpus's domains. {placeholders}{state}It was scored on single turns, each after "
        f"{describe_history(config.to_dict())}, not in whole conversations of its own with people; "
        "fluency, politeness and safety were not measured. It has the base model's biases and the "
        "corpus's. Not meant for bookings, payments or advice without a person who checks."
    )


def describe_history(config: Mapping[str, Any]) -> str:
    """What stands in front of a reply that is scored."""
    if config.get("earlier_replies") == "own":
        return "the corpus's user turns and the model's own earlier replies"
    return "the corpus's own earlier turns"


def describe_input(config: TrialConfig) -> str:
    """What stands in front of a reply."""
    parts = ["what was said so far"]
    if finds_state(config):
        parts.append("the state, which it writes itself before it replies")
    elif "state" in config.context:
        asked = ", with what the user asks for as `phone = ?`" if config.requests else ""
        parts.append(f"the dialogue's state (`state>`{asked})")
    if "db" in config.context:
        parts.append("how many rows of the database match it (`db>`)")
    if "booked" in config.context:
        parts.append("the domains with something booked by then, if any (`booked>`)")
    read = f"{', '.join(parts[:-1])}{' and ' * (len(parts) > 1)}{parts[-1]}"
    return f"It reads {read}.{describe_plan(config)}"


def describe_plan(config: TrialConfig) -> str:
    """What stands in front of a reply that it writes."""
    if not has_plan(config):
        return ""
    what = "what a reply does (its acts)" if plans_acts(config) else "a reply's placeholders"
    return f" It writes {what} first, then `bot>` and the reply."


def describe_installation(config: TrialConfig, versions: Mapping[str, str], *, merged: bool) -> str:
    """The line that installs what the card's code needs, and what the trial ran with."""
    needed = ["torch", "transformers", *([] if merged else ["peft"])]
    needed += ["bitsandbytes"] if config.quantisation in QUANTISED and not merged else []
    known = ", ".join(f"{n} {versions[n]}" for n in LIBRARIES if n in versions)
    trained = f"\n\nTrained with {known}." if known else ""
    return f"```console\n$ pip install {' '.join(needed)}\n```{trained}"
