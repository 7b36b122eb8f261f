"""What is installed here, and whether it is what another machine has. Standard library only."""

import platform
from collections.abc import Iterator, Mapping
from importlib import metadata

PACKAGES = (
    *("qlora-dialogue-search", "torch", "transformers", "peft", "bitsandbytes", "accelerate"),
    *("ray", "optuna", "datasets", "sacrebleu"),
)
COMPUTING = ("torch", "transformers", "peft", "bitsandbytes")  # of these, numbers depend on


def read_versions() -> dict[str, str]:
    """Package -> version, of those installed, and Python's."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def find_differences(theirs: Mapping[str, str]) -> Iterator[str]:
    """Where this machine computes with another version; builds of one version (+cu128) are alike.

    >>> list(find_differences({"torch": "1.0+cpu"}))  # doctest: +ELLIPSIS
    ['torch ... in the place of 1.0']
    """
    ours = read_versions()
    for name in (n for n in COMPUTING if n in theirs):
        here, there = (v.get(name, "none").partition("+")[0] for v in (ours, theirs))
        if here != there:
            yield f"{name} {here} in the place of {there}"
