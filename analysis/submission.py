"""One sweep's answer as a record that anybody may read: which machine, which versions, how fast,
which configuration, which scores with their intervals. No text of a model or corpus, no path, no
name of a person, a machine or a sweep. Standard library only.

`python -m tune.submit NAME` writes one; a test checks all that lie in `analysis/submitted`.
"""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainable.trial import CHOICES, FIELDS, KINDS, RANGES, ConfigError

FOLDER = Path(__file__).with_name("submitted")
FORMAT = 1
OWN = "own"  # a model or corpus of the submitter's
LEFT_OUT = ("adapter", "instruction", "seed")  # paths, texts; scores are means over seeds
NAME = re.compile(r"[A-Za-z0-9][\w .,+()\[\]|:*\\-]{0,79}")  # of a GPU, a version, a choice
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]{0,63}(/[A-Za-z0-9][\w.-]{0,95})?")  # of a model
# part -> number -> the lowest and the highest it may be
NUMBERS: dict[str, dict[str, tuple[float, float]]] = {
    "machine": {"gpus": (0, 10**5)},
    "speed": {
        "train_steps_per_s": (0, 1e6),
        "train_tokens_per_s": (0, 1e9),
        "replies_per_s": (0, 1e7),
        "peak_gib": (0, 1e4),
    },
    "search": {"trials": (1, 10**6), "seeds": (1, 10**4), "hours": (0, 10**5)},
    "scores": {
        **dict.fromkeys(("bleu", "inform", "success"), (0, 100)),
        "combined": (0, 200),
        **dict.fromkeys(("loss_nats", "nats_per_word"), (0, 1e4)),
        "turns_seen": (0, 10**9),
        "n_dialogues": (1, 10**7),
    },
}
TEXTS = {"machine": ("gpu",), "search": ("space", "profile"), "scores": ("split", "states")}
PARTS = ("format", "machine", "versions", "speed", "search", "config", "scores", "intervals")


def check_submission(record: Any) -> None:
    """Raises ConfigError with the first thing that does not belong there."""
    parts = take(record, "the record", PARTS)
    if parts["format"] != FORMAT:
        raise ConfigError(f"format is {parts['format']!r}: this version reads {FORMAT}")
    for part, numbers in NUMBERS.items():
        texts = TEXTS.get(part, ())
        values = take(parts[part], part, (*numbers, *texts))
        for name, (low, high) in numbers.items():
            check_number(f"{part}.{name}", values[name], low, high)
        for name in texts:
            check_text(f"{part}.{name}", values[name], NAME)
    for package, version in take(parts["versions"], "versions").items():
        check_text("versions", package, NAME)
        check_text(f"versions.{package}", version, NAME)
    check_config(take(parts["config"], "config"))
    check_scores(parts["scores"], take(parts["intervals"], "intervals"))


def take(values: Any, where: str, names: tuple[str, ...] | None = None) -> Mapping[str, Any]:
    """The values by name; with `names`, these and no others."""
    if not isinstance(values, dict):
        raise ConfigError(f"{where} must be an object with names")
    if names is not None and set(values) != set(names):
        odd = sorted(set(values) ^ set(names))
        raise ConfigError(f"{where} must have {', '.join(names)}, no more and no less: see {odd}")
    return values


def check_number(where: str, value: Any, low: float, high: float) -> None:
    """None is a number that was not measured."""
    if value is None:
        return
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or not low <= value <= high:
        raise ConfigError(f"{where} must lie in [{low:g}, {high:g}], not {value!r:.60}")


def check_text(where: str, value: Any, pattern: re.Pattern[str]) -> None:
    if not isinstance(value, str) or not pattern.fullmatch(value) or ".." in value:
        raise ConfigError(f"{where} must be a plain name of a few words, not {value!r:.60}")


def check_config(config: Mapping[str, Any]) -> None:
    """Fields of a trial, of their kinds, within their ranges."""
    for name, value in config.items():
        if name not in FIELDS or name in LEFT_OUT:
            raise ConfigError(f"config must not have {name!r:.60}")
        if name in CHOICES and value not in CHOICES[name]:
            raise ConfigError(f"config.{name} must be one of {', '.join(CHOICES[name])}")
        kind = KINDS[name].partition(" | ")[0]
        if kind == "bool" and not isinstance(value, bool):
            raise ConfigError(f"config.{name} must be true or false")
        if kind in ("int", "float"):
            check_number(f"config.{name}", value, *RANGES.get(name, (-math.inf, math.inf)))
        if kind == "str":
            check_text(f"config.{name}", value, HUB_ID if name == "base_model" else NAME)


def check_scores(scores: Mapping[str, Any], intervals: Mapping[str, Any]) -> None:
    """Combined is what it is made of; an interval holds its score."""
    parts = [scores[name] for name in ("bleu", "inform", "success", "combined")]
    if None not in parts:
        bleu, inform, success, combined = parts
        if abs(bleu + (inform + success) / 2 - combined) > 0.2:
            raise ConfigError("scores.combined must be bleu + (inform + success) / 2")
    for name, bounds in intervals.items():
        if name not in NUMBERS["scores"] or not isinstance(bounds, list) or len(bounds) != 2:
            raise ConfigError(f"intervals.{name!r:.60} must be [lowest, highest] of a score")
        for bound in bounds:
            check_number(f"intervals.{name}", bound, -100, 300)
        if scores[name] is not None and not bounds[0] - 1 <= scores[name] <= bounds[1] + 1:
            raise ConfigError(f"intervals.{name} must hold the score, {scores[name]}")
