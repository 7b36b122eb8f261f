"""The console script qlora-search, and python -m tune: every command by its name."""

import os
import sys
from collections.abc import Sequence
from importlib import metadata

from trainable.command.parser import EXIT_BAD_INPUT, SCRIPT
from trainable.system.environment import ensure_utf8
from trainable.trial import nearest
from tune.commands import COMMANDS, GROUPS, load

DISTRIBUTION = "qlora-dialogue-search"


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code of the command that the first word names."""
    if "_ARGCOMPLETE" in os.environ:
        from tune.completion import complete

        complete()
    ensure_utf8()
    name, *rest = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if name in ("-h", "--help", "help"):
        print(describe())
        return 0
    if name == "--version":
        print(f"{SCRIPT} {read_version()}")
        return 0
    if name not in COMMANDS:
        near = nearest(name, COMMANDS)
        print(f"error: no command is called {name!r}{near}: {SCRIPT} --help", file=sys.stderr)
        return EXIT_BAD_INPUT
    return int(load(name).main(rest))


def describe() -> str:
    lines = [f"usage: {SCRIPT} COMMAND ...     (or python -m tune COMMAND ...)"]
    for group, commands in GROUPS.items():
        lines += ["", f"{group}:"]
        lines += [f"  {name:<11} {text}" for name, (_, text) in commands.items()]
    return "\n".join([*lines, "", f"{SCRIPT} COMMAND --help tells its flags; --version"])


def read_version() -> str:
    try:
        return metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError:
        from tune.folder.versions import read_commit

        return f"of the source tree ({read_commit() or 'no commit'})"


if __name__ == "__main__":
    sys.exit(main())
