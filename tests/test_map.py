"""What files say of other files: README of the rooms, GitHub's forms, mutants of their lines."""

import re
from pathlib import Path

import yaml
from mutants import MUTANTS

ROOT = Path(__file__).parents[1]
FLOORS = ("tune", "search_spaces", "trainable", "analysis")
MENTIONED_ONCE = ("analysis/example", "analysis/results")  # with all that is below


def test_the_map_is_the_tree() -> None:
    lines = (ROOT / "README.md").read_text().partition("## The map")[2].split("```")[1].splitlines()
    named, path = set(), []
    for line in lines:
        if match := re.match(r"( *)([\w-]+)/", line):
            path[len(match[1]) // 2 :] = [match[2]]
            named.add("/".join(path))
    folders = (p.parent.relative_to(ROOT) for f in FLOORS for p in (ROOT / f).rglob("*.*"))
    there = {next((m for m in MENTIONED_ONCE if str(f).startswith(m)), str(f)) for f in folders}
    there = {folder for folder in there if "__pycache__" not in folder}
    assert named == there | {"tests"}


def test_a_file_has_at_most_250_lines() -> None:
    files = [p for f in FLOORS for p in (ROOT / f).rglob("*.py") if "results" not in p.parts]
    lines = {str(p.relative_to(ROOT)): p.read_text().count("\n") for p in files}
    assert {name: n for name, n in lines.items() if n > 250} == {}


def test_issue_forms_are_what_github_takes() -> None:
    kinds = {"textarea": {"label", "description", "render"}, "input": {"label", "description"}}
    forms = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))
    assert forms
    for path in forms:
        form = yaml.safe_load(path.read_text())
        assert form.keys() == {"name", "description", "body"}
        for part in form["body"]:
            assert (
                "label" in part["attributes"] and part["attributes"].keys() <= kinds[part["type"]]
            )


def test_each_deliberate_fault_finds_its_line() -> None:
    for (name, tests), faults in MUTANTS.items():
        text = (ROOT / name).read_text()
        assert [old for old, _ in faults if text.count(old) != 1] == [], name
        assert (ROOT / "tests" / tests).is_file()
