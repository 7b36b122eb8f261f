"""Where a sweep's trials are validated, and on what."""

from __future__ import annotations

from trainable.result import ValidationRequest
from trainable.worker.lease import Milestone
from tune.search.config import SweepConfig


def list_milestones(
    config: SweepConfig, train_turns: int, *, is_confirmation: bool = False
) -> tuple[Milestone, ...]:
    """Of a trial that ends at `train_turns`. Where a point is confirmed nothing is decided on the
    way, which has one station that a lost worker's follower goes on from, and the end makes
    replies to all dialogues."""
    *lower, final = config.eval_dialogues
    replies = config.rung_metric != "loss" and not is_confirmation
    rungs = [
        Milestone(turns, ValidationRequest(n, replies=replies))
        for turns, n in zip(config.rungs_turns, lower, strict=True)
        if turns < train_turns
    ]
    end = ValidationRequest(None if is_confirmation else final, bias=config.calibrate)
    return (*(rungs[-1:] if is_confirmation else rungs), Milestone(train_turns, end))
