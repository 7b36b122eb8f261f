"""THE SEARCH. Flat here: the commands. Refuses to load where something hides a package of ours."""

from importlib.util import find_spec as _find_spec
from pathlib import Path as _Path

for _name in ("analysis", "search_spaces", "trainable"):
    _origin = _Path(getattr(_find_spec(_name), "origin", None) or "nothing").resolve()
    if _origin != _Path(__file__).resolve().parents[1] / _name / "__init__.py":
        raise ImportError(
            f"`{_name}` is taken from {_origin}, which hides ours: go to another folder, rename "
            "that, or call qlora-search, which it does not disturb",
            name=__name__,  # so that `python -m` says it in one line
        )
