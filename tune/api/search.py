"""Sweeps started and resumed from Python: the flags of `qlora-search run` as arguments."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainable.trial import ConfigError, nearest
from tune.api.result import SweepResult

if TYPE_CHECKING:
    from search_spaces.space import Space

Event = Mapping[str, Any]  # as a line of evals.jsonl: {"event": "trial" | "eval" | "end" ...}
Callback = Callable[[Event], None]
OWN = (  # flags that are other arguments here, or none
    *("space", "set", "resume", "config", "profile", "storage"),
    *("json", "dry_run", "mappings"),
)
INTERRUPTED = 128  # and above: exit codes of signals


class Told:
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
    base_model: str | None = None,
    corpus: str | None = None,
    trials: int | None = None,
    name: str | None = None,
    storage: str | Path = "runs",
    profile: str = "auto",
    fixed: Mapping[str, Any] | None = None,
    callbacks: Iterable[Callback] = (),
    **settings: Any,
) -> SweepResult:
    """Runs a new sweep to its end.

    `space`: the name of one that ships with the package, a .py file, a Space, or searched fields
    with their values: `{"lora_rank": [8, 16], "learning_rate": {"low": 1e-5, "high": 1e-2, "log":
    True}}`. `fixed`: fields of every trial, as `--set`. `settings`: any other flag of `qlora-search
    run` (`objective`, `seeds`, `rungs`, `sampler`, `warm_start`, ...). Raises ConfigError where the
    command ends with 2, KeyboardInterrupt when it is interrupted: `resume` goes on."""
    own = {"base_model": base_model, "corpus": corpus}
    flags = spell_flags({"trials": trials, "name": name, **settings})
    flags.profile, flags.storage = profile, locate_storage(storage)
    values = {**(fixed or {}), **{n: v for n, v in own.items() if v is not None}}
    flags.set = [f"{field}={json.dumps(value)}" for field, value in values.items()]
    if isinstance(space, str | Path):
        flags.space = str(space)
    else:
        flags.mappings = {"space": space}
    return run(flags, callbacks)


def resume(
    name: str,
    *,
    storage: str | Path = "runs",
    callbacks: Iterable[Callback] = (),
    **changes: Any,
) -> SweepResult:
    """Goes on with a sweep, after any end; `changes`: what `--resume` may change (`trials`,
    `max_hours`, ...). Raises ConfigError."""
    flags = spell_flags(changes)
    flags.resume, flags.storage = name, locate_storage(storage)
    return run(flags, callbacks)


def run(flags: argparse.Namespace, callbacks: Iterable[Callback]) -> SweepResult:
    from tune.run import run as run_command

    listeners = [Told(callback) for callback in callbacks]
    outcome = run_command(flags, listeners)
    for fault in filter(None, (told.fault for told in listeners)):
        print(fault, file=sys.stderr)
    if outcome.code >= INTERRUPTED:
        raise KeyboardInterrupt
    return SweepResult(Path(outcome.facts["folder"]))


def spell_flags(settings: Mapping[str, Any]) -> argparse.Namespace:
    """The flags of `qlora-search run`, as given by their names. Raises ConfigError."""
    from tune.plan.flags import build_parser
    from tune.search.config import FLAGS

    flags = build_parser().parse_args([])
    names = {flag.spelt or name: name for name, flag in FLAGS.items()}
    names |= {name: name for name in vars(flags) if name not in OWN}
    for given, value in settings.items():
        if given not in names:
            raise ConfigError(f"no setting is called {given!r}{nearest(given, names)}")
        value = tuple(value) if isinstance(value, list) else value
        setattr(flags, names[given], [value] if given == "warm_start" else value)
    return flags


def locate_storage(storage: str | Path) -> str:
    from trainable.storage.remote import locate

    return locate(str(storage))
