"""What --set may fix: every field of a trial, its range, and what it is: python -m tune.fields"""

import argparse
from collections.abc import Mapping
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
from tune.search.profiles import BASES


def show(flags: argparse.Namespace) -> Outcome:
    for name in flags.names:
        if name not in FIELDS:
            raise ConfigError(f"no field is called {name!r}{nearest(name, FIELDS)}")
    fields = [describe(name) for name in flags.names or FIELDS]
    print("\n".join(map(render, fields)))
    return Outcome(facts={"fields": fields})


def render(field: Mapping[str, Any]) -> str:
    """Two lines: what the field is; what it may be, its value in each profile, and when it exists.

    >>> print(render(describe("top_p")))
    top_p: only the likeliest tokens that have this probability together
        float, 1e-06 to 1; only with decoding=sampling
    """
    kind = ", ".join(filter(None, (field["kind"], field["allowed"])))
    when = field["only with"] and f"only with {field['only with']}"
    told = "; ".join(filter(None, (kind, render_defaults(field), when)))
    return f"{field['field']}: {field['what it is']}\n    {told}"


def render_defaults(field: Mapping[str, Any]) -> str:
    """Once where all profiles agree; "" where the field is left out."""
    values = {profile: field[profile] for profile in BASES}
    if len({*map(str, values.values())}) > 1:
        return f"default {', '.join(f'{value} ({name})' for name, value in values.items())}"
    default = values.popitem()[1]
    return "" if default is None else f"default {default}"


def describe(name: str) -> dict[str, Any]:
    """JSON-ready: the field, its kind, what it may be, its value in each profile, and when it
    exists."""
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
    parser.add_argument("names", nargs="*", metavar="FIELD", help="fields to show (default: all)")
    return parser


main = make_main(build_parser, show)

if __name__ == "__main__":
    start_command(main)
