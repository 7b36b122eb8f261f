"""THE SEARCH. Flat here: the commands. Refuses to load where something hides a package of ours."""

from importlib.util import find_spec as _find_spec
from pathlib import Path as _Path

# package -> a file that only ours has; on a cluster's nodes each lies in a folder of its own
_OURS = {"analysis": "records.py", "search_spaces": "space.py", "trainable": "trial.py"}
for _name, _file in _OURS.items():
    _origin = _Path(getattr(_find_spec(_name), "origin", None) or "nothing").resolve()
    if _origin.name != "__init__.py" or not _origin.with_name(_file).is_file():
        raise ImportError(
            f"`{_name}` is taken from {_origin}, which hides ours: go to another folder, rename "
            "that, or call qlora-search, which it does not disturb",
            name=__name__,  # so that `python -m` says it in one line
        )
