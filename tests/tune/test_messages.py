"""What an error says to do can be done: it names flags that its command has."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from trainable.command.remedies import FIELDS, SET, fit_flags, spell_flag
from tune.commands import COMMANDS, GROUPS, load

ROOT = Path(__file__).parents[2]
FLAG = re.compile(r"((?:tune|analysis)\.\w+ (?:NAME |x )?|uv |pip )?(--[a-z][a-z-]+)")
OF_A_MODEL = ("run", "export", "bench", *GROUPS["a model"])
BESIDE = {"generate": "evaluate"}  # whose replies it makes
ELSEWHERE = {SET, *map(spell_flag, FIELDS)}


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


@pytest.mark.parametrize("command", OF_A_MODEL)
def test_what_is_found_below_is_told_in_the_command_s_own_flags(command: str) -> None:
    files = [p for p in (ROOT / "trainable").rglob("*.py") if "results" not in p.parts]
    messages = [m for path in files for m in list_messages(path) if "--" in m]
    assert len(messages) > 50
    for message in messages:
        told = fit_flags(message, list_flags(command))
        named = [flag for other, flag in FLAG.findall(told) if not other]
        assert set(named) & ELSEWHERE <= set(list_flags(command)), told


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
