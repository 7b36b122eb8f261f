"""What a sweep ran on: versions and commit, recorded in its header."""

from __future__ import annotations

import platform
import subprocess
from importlib import metadata
from pathlib import Path

from trainable.trial import ConfigError

PACKAGES = (
    *("qlora-dialogue-search", "torch", "transformers", "peft", "bitsandbytes", "accelerate"),
    *("ray", "optuna", "datasets", "sacrebleu"),
)
OURS = ("tune", "search_spaces", "trainable", "analysis")


def read_versions() -> dict[str, str]:
    """Package -> version, of those installed, and Python's."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


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


def list_packages() -> list[str]:
    """The folders of our packages, wherever they were installed or checked out."""
    return [str(Path(__file__).parents[2] / name) for name in OURS]


def check_not_shadowed() -> None:
    """Raises ConfigError when a package of ours is another distribution's (PyPI has a `tune`)."""
    from importlib.util import find_spec

    here = Path(__file__).parents[2]
    for name in OURS:
        spec = find_spec(name)
        origin = Path(spec.origin).parent.parent if spec and spec.origin else None
        if origin is None or origin.resolve() != here.resolve():
            raise ConfigError(
                f"the package {name!r} is taken from {origin}, not from {here}: another "
                f"distribution shadows it; remove that (pip uninstall {name}) or run from {here}"
            )
