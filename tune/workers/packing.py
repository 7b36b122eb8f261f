"""How many trials share one engine: as asked, or as many as pay on this cluster's GPUs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from trainable.engine.best_slots import ENGINE
from trainable.finetuner import BestSlots
from trainable.model.packable import is_toy, why_alone
from trainable.trial import CannotPack, ConfigError, TrialConfig, TrialFailed

UNMEASURED_SLOTS = 8  # where nothing is trained whose speed could be measured
SAID_EVERY_S = 30.0  # that an engine is still at the same thing
LOOK_S = 1.0


def choose_slots(
    pack: str, configs: Sequence[TrialConfig], *, on_gpus: bool
) -> tuple[int | None, str]:
    """(trials on one engine, why): 0 runs each trial alone in its process, None is as many as the
    engine finds best. On the CPU a pack gains nothing: a process a core reads more tokens."""
    if reason := find_obstacle(configs):
        return 0, reason
    if pack != "auto":
        return (0 if pack == "1" else int(pack)), "--pack"
    if not on_gpus:
        return 0, "there is no GPU"
    return (None, "") if find_measured(configs) else (UNMEASURED_SLOTS, "there is a GPU")


def find_measured(configs: Iterable[TrialConfig]) -> TrialConfig | None:
    """The trial that an engine is measured with; None: none of them trains an adapter."""
    return next((c for c in configs if c.method == "lora" and not is_toy(c)), None)


def find_obstacle(configs: Iterable[TrialConfig]) -> str | None:
    """Why engines cannot hold all of these; None: they can."""
    return next((why for c in configs if (why := why_alone(c)) is not None), None)


def find_misfit(config: TrialConfig, slots: int, configs: Iterable[TrialConfig]) -> str | None:
    """Why workers that were chosen for `configs` cannot carry out another; None: they can."""
    from tune.workers.pool import base_of

    if slots == 0:
        return None
    is_held = base_of(config) in {base_of(c) for c in configs}
    return why_alone(config) or (None if is_held else "no engine holds its base model")


def measure(pool: Any, config: TrialConfig, say: Callable[[str], None]) -> tuple[int, str]:
    """(the number of slots that the pool's first engine has chosen for such trials, why); 0 where
    each has to run alone. Says what the engine is at meanwhile. Raises ConfigError where there is
    no model, or no node that is not at fault."""
    import ray

    asked = pool.measure.remote(config)
    try:
        best: BestSlots = await_told(asked, say)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, TrialFailed):
            return 0, f"not one trial fits an engine here: {error.cause}"
        if isinstance(error.cause, CannotPack):
            return 0, str(error.cause)
        if isinstance(error.cause, ConfigError):
            raise type(error.cause)(str(error.cause)) from None
        raise
    return best.slots, best.describe()


def await_told(asked: Any, say: Callable[[str], None]) -> Any:
    """What was asked for. Whatever the engines are at meanwhile is said when it changes, and again
    when it takes long."""
    import ray

    from tune.workers.heartbeats import HeartbeatReader

    heartbeats, started_s = HeartbeatReader(), time.monotonic()
    said, said_s = "", started_s
    while not ray.wait([asked], timeout=LOOK_S)[0]:
        now_s = time.monotonic()
        activity = heartbeats.look().activities.get(ENGINE.rstrip("."))
        what = said if activity is None else activity.what
        if what and (what != said or now_s - said_s > SAID_EVERY_S):
            say(f"engine, after {now_s - started_s:.0f} s: {what}")
            said, said_s = what, now_s
    return ray.get(asked)
