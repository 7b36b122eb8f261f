"""Sweeps started and resumed from Python: the flags of `qlora-search run` as arguments."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainable.command.parser import one_of
from trainable.trial import ConfigError
from tune.api.result import SweepResult
from tune.api.settings import check_callbacks, read_text, spell_fixed, spell_flags
from tune.search.profiles import BASES

if TYPE_CHECKING:
    from search_spaces.space import Space

Event = Mapping[str, Any]  # as a line of evals.jsonl: {"event": "trial" | "eval" | "end" ...}
Callback = Callable[[Event], None]
PROFILES = ("auto", *BASES)
INTERRUPTED = 128  # and above: exit codes of signals


class SafeListener:
    """A callback as the recorder tells it. One that raises is left out from then on, and said once
    the sweep has stderr back: no sweep ends for it."""

    def __init__(self, callback: Callback) -> None:
        self.callback, self.fault = callback, ""

    def on_event(self, event: Event) -> None:
        if self.fault:
            return
        try:
            self.callback(event)
        except Exception as error:  # the user's own code
            what = getattr(self.callback, "__name__", repr(self.callback))
            self.fault = f"callback {what} failed: {type(error).__name__}: {error}"


def search(  # noqa: PLR0913 (each is one question a user answers)
    space: str | Path | Mapping[str, Any] | Space,
    *,
    base_model: str | Path | None = None,
    corpus: str | Path | None = None,
    trials: int | None = None,
    name: str | None = None,
    storage: str | Path = "runs",
    profile: str = "auto",
    fixed: Mapping[str, Any] | None = None,
    callbacks: Sequence[Callback] = (),
    **settings: Any,
) -> SweepResult:
    """Runs a new sweep to its end.

    `space`: the name of one that ships with the package, a .py file, a Space, or searched fields
    with their values: `{"lora_rank": [8, 16], "learning_rate": {"low": 1e-5, "high": 1e-2, "log":
    True}}`. `fixed`: fields of every trial, as `--set`. `settings`: any other flag of `qlora-search
    run` (`objective`, `seeds`, `rungs`, `sampler`, `warm_start`, ...). Raises ConfigError where the
    command ends with 2, KeyboardInterrupt when it is interrupted: `resume` goes on."""
    flags = spell_flags({"trials": trials, "name": name, **settings})
    if profile not in PROFILES:
        raise ConfigError(f"profile {one_of(PROFILES, str(profile))}")
    flags.profile, flags.storage = profile, locate_storage(storage)
    flags.set = spell_fixed(fixed or {}, base_model=base_model, corpus=corpus)
    if isinstance(space, str | Path):
        flags.space = str(space)
    else:
        flags.mappings = {"space": space}
    return run(flags, callbacks)


def resume(
    name: str, *, storage: str | Path = "runs", callbacks: Sequence[Callback] = (), **changes: Any
) -> SweepResult:
    """Goes on with a sweep, after any end; `changes`: what `--resume` may change (`trials`,
    `max_hours`, ...). Raises ConfigError."""
    flags = spell_flags(changes)
    flags.resume, flags.storage = name, locate_storage(storage)
    return run(flags, callbacks)


def run(flags: argparse.Namespace, callbacks: Sequence[Callback]) -> SweepResult:
    from tune.run import run as run_command

    check_callbacks(callbacks)
    listeners = [SafeListener(callback) for callback in callbacks]
    outcome = run_command(flags, listeners)
    for fault in filter(None, (listener.fault for listener in listeners)):
        print(fault, file=sys.stderr)
    if outcome.code >= INTERRUPTED:
        raise KeyboardInterrupt
    return SweepResult(Path(outcome.facts["folder"]))


def locate_storage(storage: str | Path) -> str:
    from trainable.storage.remote import locate

    return locate(read_text("storage", storage))
