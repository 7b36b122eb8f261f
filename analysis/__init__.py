"""WHAT CAME OUT. Refuses to load where something hides a package of ours, as `tune` does."""

from importlib.util import find_spec as _find_spec
from pathlib import Path as _Path

_origin = _Path(getattr(_find_spec("trainable"), "origin", None) or "nothing").resolve()
if _origin.name != "__init__.py" or not _origin.with_name("trial.py").is_file():
    raise ImportError(
        f"`trainable` is taken from {_origin}, which hides ours: go to another folder, rename "
        "that, or call qlora-search, which it does not disturb",
        name=__name__,  # so that `python -m` says it in one line
    )
