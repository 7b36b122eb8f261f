"""What a command came to: an exit code, and what --json prints."""

import argparse
import contextlib
import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from trainable.command.parser import EXIT_BAD_INPUT, Parser
from trainable.system.environment import ensure_utf8, set_environment
from trainable.trial import ConfigError

FORMAT = 1  # of what --json prints: keys may come, none goes or changes its meaning under a number
EXIT_INTERRUPTED = 130  # as shells have it: 128 + SIGINT


@dataclass(frozen=True, kw_only=True)
class Outcome:
    facts: Mapping[str, Any] = field(default_factory=dict)  # JSON-ready: what --json prints
    code: int = 0  # the exit code


def carry_out(
    parser: Parser, act: Callable[[argparse.Namespace], Outcome], arguments: Sequence[str] | None
) -> int:
    """The command's exit code; with one line on stderr 2 for a ConfigError, 130 for Ctrl-C."""
    try:
        flags = parser.parse_args(arguments)
        if hasattr(flags, "trust_remote_code"):
            set_environment(bool(getattr(flags, "deterministic", False)), flags.trust_remote_code)
        is_json = getattr(flags, "json", False) is True
        with contextlib.redirect_stdout(sys.stderr if is_json else sys.stdout):
            outcome = act(flags)
    except ConfigError as error:
        print(f"error: {error.spell(parser.list_flags())}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except KeyboardInterrupt:
        print("interrupted: the same command begins again", file=sys.stderr)
        return EXIT_INTERRUPTED
    if is_json:
        print(
            json.dumps(spell({"command": parser.name, "format": FORMAT, **outcome.facts}), indent=1)
        )
    return outcome.code


def make_main(
    build_parser: Callable[[], Parser], act: Callable[[argparse.Namespace], Outcome]
) -> Callable[..., int]:
    """The command's `main(arguments)`, which returns its exit code."""

    def main(arguments: Sequence[str] | None = None) -> int:
        return carry_out(build_parser(), act, arguments)

    return main


def start_command(main: Callable[[], int]) -> NoReturn:
    """What `python -m MODULE` does."""
    ensure_utf8()
    sys.exit(main())


def spell(value: Any) -> Any:
    """JSON-ready: paths as text, numbers of numpy as Python's, no number for what is not finite."""
    if isinstance(value, Mapping):
        return {str(key): spell(each) for key, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [spell(each) for each in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "item"):
        value = value.item()
    return None if isinstance(value, float) and not math.isfinite(value) else value
