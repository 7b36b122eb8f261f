"""The parser of every command: help that tells defaults, one line for a wrong flag, --json."""

import argparse
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from trainable.trial import nearest

SCRIPT = "qlora-search"  # the console script
EXIT_BAD_INPUT = 2
# defaults that need no word
UNTOLD: tuple[Any, ...] = (None, False, True, "", [], (), argparse.SUPPRESS)


def spell_command(module: str, name: str = "") -> str:
    """How the user calls a command, as this process was called: `qlora-search run`, or `python -m
    tune.run`. `name`: the command's, where the module's own is another."""
    is_script = Path(sys.argv[0]).stem == SCRIPT
    return f"{SCRIPT} {name or module.rpartition('.')[2]}" if is_script else f"python -m {module}"


class Help(argparse.RawDescriptionHelpFormatter):
    """Tells every default that a flag's text does not tell itself; a number is spelt N."""

    def _get_default_metavar_for_optional(self, action: argparse.Action) -> str:
        return "N" if action.type in (int, float) else action.dest.upper()

    def _get_help_string(self, action: argparse.Action) -> str:
        text = action.help or ""
        if "default:" in text or action.default in UNTOLD:
            return text
        is_list = isinstance(action.default, list | tuple)
        default = ",".join(map(str, action.default)) if is_list else "%(default)s"
        return f"{text} (default: {default})".strip()


class Parser(argparse.ArgumentParser):
    """Of the command in `module`. What is wrong is told in one line, with the nearest right word;
    the exit code is 2."""

    def __init__(
        self, module: str, description: str | None, *, name: str = "", has_json: bool = True
    ) -> None:
        self.name = name or module.rpartition(".")[2]
        prog = spell_command(module, name)
        text = (description or "").replace(f"python -m {module}", prog).strip()
        super().__init__(
            prog=prog, description=text, allow_abbrev=False, formatter_class=Help, add_help=False
        )
        self.add_argument("-h", "--help", action="help", help="show this and end")
        if has_json:
            self.add_argument(
                "--json",
                action="store_true",
                help="print one JSON object (docs/commands.md); messages go to stderr",
            )

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        given = list(sys.argv[1:] if args is None else args)
        known = self.list_flags()
        for word in given:
            flag = word.partition("=")[0]
            if re.fullmatch("--[a-z][a-z-]*", flag) and flag not in known:
                self.error(f"no flag is called {flag}{nearest(flag, known)}")
        flags, rest = self.parse_known_args(given, namespace)
        if rest:
            self.error(f"no argument is expected here: {' '.join(rest)}")
        return flags

    def list_flags(self) -> tuple[str, ...]:
        """`--name`, ..., as the usage has them."""
        found = re.findall(r"--[a-z][a-z-]*", self.format_usage())
        return ("--help", *dict.fromkeys(found))

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            raise argparse.ArgumentError(action, one_of(map(str, action.choices), str(value)))

    def error(self, message: str) -> NoReturn:
        self.exit(EXIT_BAD_INPUT, f"error: {message} ({self.prog} --help)\n")


def one_of(choices: Iterable[str], given: str) -> str:
    """What is wrong with a choice."""
    listed: Sequence[str] = list(choices)
    return f"must be one of {', '.join(listed)}, not {given!r}{nearest(given, listed)}"
