"""Where a sweep's trials are validated, and on what."""

from __future__ import annotations

from trainable.worker.lease import Milestone
from tune.search.config import SweepConfig


def list_milestones(
    config: SweepConfig, train_turns: int, *, is_confirmation: bool = False
) -> tuple[Milestone, ...]:
    """Of a trial that ends at `train_turns`. A loss that decides is measured on all dialogues,
    since it is cheap; where a point is confirmed nothing is decided on the way, and the end
    makes replies to all of them."""
    *lower, final = config.eval_dialogues
    rungs = [Milestone(*rung) for rung in zip(config.rungs_turns, lower, strict=True)]
    if is_confirmation:
        rungs = [Milestone(rung.turns, rung.n_dialogues, replies=False) for rung in rungs]
    elif config.rung_metric == "loss":
        rungs = [Milestone(rung.turns, None, replies=False) for rung in rungs]
    n_dialogues = None if is_confirmation else final
    end = Milestone(train_turns, n_dialogues, bias=config.calibrate)
    return (*(rung for rung in rungs if rung.turns < train_turns), end)
