"""The source that a sweep ran on: its commit, and where its packages are."""

import os
import subprocess
from pathlib import Path

OURS = ("tune", "search_spaces", "trainable", "analysis")


def read_commit() -> str | None:
    """The commit of the source tree, with "+changes" if there are any; None outside of one."""
    here = Path(__file__).parents[2]
    if not (here / ".git").exists():
        return None
    try:
        commit = _git(here, "rev-parse", "HEAD")
        return commit + ("+changes" if _git(here, "status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=10, check=True
    )
    return done.stdout.strip()


def find_ours() -> dict[str, str]:
    """The environment in which `python -P` finds these packages, whatever lies in its folder."""
    paths = (str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", ""))
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


def list_packages() -> list[str]:
    """The folders of our packages, wherever they were installed or checked out."""
    return [str(Path(__file__).parents[2] / name) for name in OURS]
