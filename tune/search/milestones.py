"""Where a sweep's trials are validated, and on what."""

from __future__ import annotations

from trainable.worker.lease import Milestone
from tune.search.config import SweepConfig


def list_milestones(
    config: SweepConfig, train_turns: int, *, is_confirmation: bool = False
) -> tuple[Milestone, ...]:
    """Of a trial that ends at `train_turns`. A loss that decides is measured on the dialogues of
    the end, so that a trial's losses compare; where a point is confirmed nothing is decided on the
    way, which has one station that a lost worker's follower goes on from, and the end makes replies
    to all dialogues."""
    *lower, final = config.eval_dialogues
    rungs = [Milestone(*rung) for rung in zip(config.rungs_turns, lower, strict=True)]
    rungs = [rung for rung in rungs if rung.turns < train_turns]
    if is_confirmation:
        rungs = [Milestone(rung.turns, rung.n_dialogues, replies=False) for rung in rungs[-1:]]
    elif config.rung_metric == "loss":
        rungs = [Milestone(rung.turns, final, replies=False) for rung in rungs]
    n_dialogues = None if is_confirmation else final
    return (*rungs, Milestone(train_turns, n_dialogues, bias=config.calibrate))
