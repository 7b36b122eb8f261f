"""What an error says to do can be done: it names flags that its command has."""

from __future__ import annotations

import argparse
import ast
import inspect
import pickle
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from trainable.command.outcome import Outcome, carry_out
from trainable.command.parser import Parser
from trainable.trial import ConfigError, Missing, Setting
from tune.commands import COMMANDS, load

ROOT = Path(__file__).parents[2]
FLAG = re.compile(r"((?:tune|analysis)\.\w+ (?:NAME |x )?|uv |pip )?(--[a-z][a-z-]+)")
BESIDE = {"generate": "evaluate"}  # whose replies it makes
OF_A_FIELD = re.compile("--(set|adapter|base-model|corpus)\\b")  # that some commands have


def list_messages(path: Path) -> Iterator[str]:
    """Of the ConfigErrors that a file raises; what is filled in is an x."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "ConfigError":
            for argument in node.args:
                parts = argument.values if isinstance(argument, ast.JoinedStr) else [argument]
                yield "".join(p.value if isinstance(p, ast.Constant) else "x" for p in parts)


@cache
def list_flags(command: str) -> tuple[str, ...]:
    return load(command).build_parser().list_flags()


def test_what_is_found_below_all_commands_names_fields_and_no_flag_of_theirs() -> None:
    below = ("corpus", "engine", "evaluation", "model", "solo", "storage")
    files = [p for room in below for p in (ROOT / "trainable" / room).rglob("*.py")]
    files += [ROOT / "trainable" / name for name in ("trial.py", "declared.py")]
    raised = [m for path in files for m in list_messages(path)]
    assert len(raised) > 50
    for path in files:
        texts = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.JoinedStr)]
        constants = [c.value for n in texts for c in n.values if isinstance(c, ast.Constant)]
        assert not [text for text in constants if OF_A_FIELD.search(str(text))], path
    assert not [message for message in raised if OF_A_FIELD.search(message)]


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--set", "--corpus"], "give --set corpus=FOLDER, or another (--set base_model=)"),
        (["--corpus", "--base-model"], "give --corpus FOLDER, or another (--base-model)"),
        ([], "give tune.run --set corpus=FOLDER, or another (tune.run --set base_model=)"),
    ],
)
def test_a_command_spells_the_field_that_an_error_names(
    flags: list[str], told: str, capsys: pytest.CaptureFixture
) -> None:
    parser = Parser("tune.some", "")
    for flag in flags:
        parser.add_argument(flag)

    def fail(_: object) -> Outcome:
        corpus, base = Setting("corpus", "FOLDER"), Setting("base_model")
        error = Missing("give ", corpus, ", or another (", base, ")")
        raise pickle.loads(pickle.dumps(error))  # as one that comes from a worker

    assert carry_out(parser, fail, []) == 2
    assert capsys.readouterr().err == f"error: {told}\n"
    assert str(ConfigError("no ", Setting("seed"))) == "no --set seed="


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_s_own_errors_name_its_own_flags(command: str) -> None:
    known = {*list_flags(command), *list_flags(BESIDE.get(command, command))}
    for message in list_messages(Path(inspect.getfile(load(command)))):
        named = [flag for other, flag in FLAG.findall(message) if not other]
        assert set(named) <= known, message


def test_an_adapter_that_is_not_there_is_told_by_its_flag(capsys: pytest.CaptureFixture) -> None:
    assert load("evaluate").main(["--adapter", "nowhere", "--corpus", "cambridge"]) == 2
    assert "--set" not in capsys.readouterr().err
    assert load("baseline").main(["--set", "corpus=nowhere"]) == 2
    assert "--corpus" not in capsys.readouterr().err


def test_ctrl_c_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def act(flags: argparse.Namespace) -> Outcome:
        raise KeyboardInterrupt

    assert carry_out(Parser("tune.status", None), act, []) == 130
    assert capsys.readouterr().err == "interrupted: the same command begins again\n"
