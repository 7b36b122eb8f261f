"""What a system predicted, checked before anything is scored.

mwzeval's format: {dialogue id: [{"response": str, "state": {domain: {slot: value}},
"active_domains": [domain]}, ... one a system turn]}; the last two are optional.
"""

import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from msgspec import ValidationError, convert

from trainable.trial import ConfigError

Responses = Mapping[str, Sequence[Mapping[str, Any]]]


@dataclass(frozen=True, kw_only=True)
class PredictedTurn:
    """An entry of `Responses`; other keys are not read."""

    response: str
    state: dict[str, dict[str, str]] = field(default_factory=dict)  # domain -> slot -> value
    active_domains: list[str | None] = field(default_factory=list)  # None, as mwzeval: of no domain


def read_predictions(path: Path) -> Responses:
    """The file's predictions, not yet checked against a corpus; .gz is read through gzip.
    Raises ConfigError."""
    try:
        data = path.read_bytes()
        responses = json.loads(gzip.decompress(data) if path.suffix == ".gz" else data)
    except FileNotFoundError as error:
        raise ConfigError(f"--predictions must be a file, and {path} does not exist") from error
    except (OSError, EOFError, ValueError) as error:
        raise ConfigError(
            f"--predictions must be a whole JSON file in mwzeval's format, and {path} "
            f"({len(data) if 'data' in locals() else 0} bytes) is not: {error}"
        ) from error
    if not isinstance(responses, dict) or not responses:
        raise ConfigError(
            f"--predictions must hold {{dialogue id: [turns]}}, and {path} holds "
            f"{'an empty object' if responses == {} else type(responses).__name__}"
        )
    return responses


def check_responses(responses: Responses, turns: Mapping[str, int], *, partial: bool) -> None:
    """Refuses, in one line, anything but one well-formed entry a system turn of every dialogue
    (with `partial`, of some). `turns`: dialogue id -> its number of system turns."""
    if not isinstance(responses, Mapping) or not responses:
        raise ConfigError("predictions must map dialogue ids to turns, and there are none")
    _check_ids(responses, turns, partial=partial)
    for name, dialogue in responses.items():
        if not isinstance(dialogue, Sequence) or isinstance(dialogue, str):
            raise ConfigError(
                f"a dialogue must be a list of turns: {name} is {_describe(dialogue)}"
            )
        if len(dialogue) != turns[name]:
            raise ConfigError(
                f"a dialogue needs one entry per system turn: {name} has {turns[name]} "
                f"in the corpus, {len(dialogue)} in the predictions"
            )
        for number, turn in enumerate(dialogue):
            _check_turn(turn, f"{name}, system turn {number}")


def _check_ids(responses: Responses, turns: Mapping[str, int], *, partial: bool) -> None:
    for name in responses:
        if name not in turns:
            raise ConfigError(
                f"dialogue {name!r} is not in this split{_suggest_id(str(name), turns)}: "
                "ids are lower case without .json, and --split must be the predictions' split"
            )
    missing = [name for name in turns if name not in responses]
    if missing and not partial:
        raise ConfigError(
            f"predictions must cover the split: {len(missing)} of {len(turns)} dialogues are "
            f"missing (first: {missing[0]}); add them, or score the others with --partial"
        )


def _suggest_id(name: str, turns: Mapping[str, int]) -> str:
    plain = name.lower().split(".")[0]
    if plain in turns:
        return f" (did you mean {plain}?)"
    from rapidfuzz import process

    best = process.extractOne(plain, list(turns), score_cutoff=80)
    return f" (did you mean {best[0]}?)" if best else ""


def _check_turn(turn: Any, place: str) -> None:
    try:
        convert(turn, PredictedTurn)
    except ValidationError as error:
        raise ConfigError(
            "a turn must be {response, state: {domain: {slot: value}}, active_domains: [domain]}, "
            f"all of them texts and the last two optional: {place}: {error}"
        ) from None


def _describe(value: Any) -> str:
    if value is None:
        return "none"
    text = json.dumps(value, default=str)
    return f"{type(value).__name__} {text if len(text) <= 60 else text[:57] + '...'}"
