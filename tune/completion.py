"""Prints the code that completes commands in a shell: eval "$(python -m tune.completion bash)"

Commands, flags, fields of --set, spaces, and the names of the sweeps that are there.
"""

import argparse
import os
from collections.abc import Sequence

from trainable.command.outcome import Outcome, make_main, start_command
from trainable.command.parser import SCRIPT, Parser
from tune.commands import COMMANDS, load

SHELLS = ("bash", "zsh", "fish", "powershell")


def show(flags: argparse.Namespace) -> Outcome:
    from argcomplete.shell_integration import shellcode

    code = shellcode([SCRIPT], shell=flags.shell)
    print(code)
    return Outcome(facts={"shell": flags.shell, "code": code})


def build_parser() -> Parser:
    parser = Parser("tune.completion", __doc__)
    parser.add_argument("shell", choices=SHELLS, nargs="?", default="bash", help="the shell")
    return parser


def complete() -> None:
    """Answers the shell, which asks by the environment, and ends the process."""
    import argcomplete

    argcomplete.autocomplete(build_tree(os.environ.get("COMP_LINE", "").split()))


def build_tree(words: Sequence[str]) -> argparse.ArgumentParser:
    """All commands, with the flags of those that were named."""
    tree = argparse.ArgumentParser(SCRIPT)
    tree.add_argument("--version", action="store_true")
    commands = tree.add_subparsers(parser_class=argparse.ArgumentParser)
    for name, (_, text) in COMMANDS.items():
        parents = [load(name).build_parser()] if name in words else []
        commands.add_parser(name, help=text, parents=parents, add_help=False)
    return tree


main = make_main(build_parser, show)

if __name__ == "__main__":
    start_command(main)
