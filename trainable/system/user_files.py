"""Python files of the user's own, a space or an objective, and the modules beside them."""

import os
import sys
from collections.abc import Iterable
from pathlib import Path


def list_folders(file: Path) -> tuple[str, ...]:
    """Where the file's own imports are looked for: beside it, and in the working folder."""
    return tuple(dict.fromkeys((str(file.resolve().parent), os.getcwd())))


def search_too(folders: Iterable[str]) -> None:
    """Has Python look for modules there, after all other places: none of them hides one of ours or
    a library's."""
    sys.path.extend(folder for folder in folders if folder not in sys.path)
