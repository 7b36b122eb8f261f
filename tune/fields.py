"""What --set may fix: every field of a trial, its range, and what it is: python -m tune.fields"""

import argparse
import sys
from typing import Any

from trainable.command.outcome import Outcome, make_main, start_command
from trainable.command.parser import Parser
from trainable.trial import (
    CHOICES,
    CONDITIONS,
    DECLARED,
    DEFAULTS,
    FIELDS,
    KINDS,
    RANGES,
    ConfigError,
    nearest,
)


def show(flags: argparse.Namespace) -> Outcome:
    from rich.console import Console
    from rich.table import Table

    for name in flags.names:
        if name not in FIELDS:
            raise ConfigError(f"no field is called {name!r}{nearest(name, FIELDS)}")
    fields = [describe(name) for name in flags.names or FIELDS]
    table = Table(box=None, padding=(0, 2, 0, 0))
    for title in fields[0]:
        table.add_column(title, overflow="fold")
    for field in fields:
        table.add_row(*("–" if value is None else str(value) for value in field.values()))
    Console(file=sys.stdout).print(table)
    return Outcome(facts={"fields": fields})


def describe(name: str) -> dict[str, Any]:
    """JSON-ready: the field, its kind, what it may be, its value in either profile, and when it
    exists."""
    from tune.search.profiles import BASES

    low, high = RANGES.get(name, (None, None))
    allowed = " | ".join(CHOICES.get(name, ())) or (None if low is None else f"{low:g} to {high:g}")
    whens = [f"{d}={' or '.join(v)}" for d, v, names in CONDITIONS if name in names]
    profiles = {profile: base.get(name, DEFAULTS[name]) for profile, base in BASES.items()}
    return {
        "field": name,
        "kind": KINDS[name].partition(" | ")[0],
        "allowed": allowed,
        **profiles,
        "only with": ", ".join(whens),
        "what it is": DECLARED[name].help,
    }


def build_parser() -> Parser:
    parser = Parser("tune.fields", __doc__)
    parser.add_argument("names", nargs="*", metavar="FIELD", help="those shown (default: all)")
    return parser


main = make_main(build_parser, show)

if __name__ == "__main__":
    start_command(main)
