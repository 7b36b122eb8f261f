"""The README's map names every file of the packages, and none that is not there."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("tune", "search_spaces", "trainable", "analysis")
UNNAMED = {"__init__.py", "__main__.py"}


def test_the_map_is_the_tree() -> None:
    text = (ROOT / "README.md").read_text().partition("## The map")[2]
    named = re.findall(r"\b[\w-]+\.py\b", text.partition("```")[2])
    files = [p for package in PACKAGES for p in (ROOT / package).rglob("*.py")]
    names = [p.name for p in files if p.name not in UNNAMED]
    assert sorted(named) == sorted(names)
