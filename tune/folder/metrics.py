"""What an evaluation measured, as trackers and optuna-dashboard name it."""

from collections.abc import Mapping
from typing import Any

from trainable.result import OBJECTIVE, RESOURCE

METRICS = (
    *("combined", "bleu", "inform", "success", "loss_nats"),
    *("nats_per_word", "nats_per_placeholder", "train_s", "eval_s"),
    *("train_turns_per_s", "tokens_per_s", "peak_gib"),
)
FIRST = ("bleu", "inform", "success", "nats_per_word", RESOURCE, "n_dialogues")


def pick_metrics(event: Mapping[str, Any]) -> dict[str, float]:
    """Of an evaluation's event all that was measured, the objective first and then what tells most.

    >>> event = {"combined": 3.0, "bleu": 2, "train_s": 9.0, "richness": {"msttr": 0.5}}
    >>> pick_metrics({**event, "objective": {"name": "helpful", "value": 0.25}})
    {'helpful': 0.25, 'combined': 3.0, 'bleu': 2.0, 'train_s': 9.0, 'msttr': 0.5}
    """
    told = event.get("objective") or {"name": OBJECTIVE, "value": event.get(OBJECTIVE)}
    found = {told["name"]: told["value"]}
    found |= {name: event.get(name) for name in (OBJECTIVE, *FIRST, *METRICS)}
    found |= {**(event.get("richness") or {}), **(event.get("metrics") or {})}
    found[told["name"]] = told["value"]
    return {name: float(value) for name, value in found.items() if value is not None}
