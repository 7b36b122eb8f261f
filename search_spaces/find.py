"""Where spaces are found: `search_spaces/NAME.py`, or a file of the user's."""

import importlib.util
from pathlib import Path

from search_spaces.distributions import refuse_fractions
from search_spaces.space import Space
from trainable.system.user_files import list_folders, search_too
from trainable.trial import ConfigError, nearest

NO_SPACES = (
    "__init__",
    "conditions",
    "distributions",
    "enumeration",
    "find",
    "notation",
    "space",
)  # files here that are none


def list_spaces() -> tuple[str, ...]:
    """The names of the spaces that ship with the package."""
    here = Path(__file__).parent
    return tuple(sorted(p.stem for p in here.glob("*.py") if p.stem not in NO_SPACES))


def find_space(name: str) -> Space:
    """The space of that name, or the SPACE of a file of the user's (`path/to/my_space.py`).
    Raises ConfigError when there is none."""
    is_path = name.endswith(".py")
    path = Path(name) if is_path else Path(__file__).with_name(f"{name}.py")
    if not path.is_file() or not (is_path or name in list_spaces()):
        raise ConfigError(
            f"no space is called {name!r}{nearest(name, list_spaces())}: --space takes one "
            f"of {', '.join(list_spaces())}, or the path of a .py file that defines SPACE"
        )
    spec = importlib.util.spec_from_file_location(f"space_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    if is_path:
        search_too(list_folders(path))
    try:
        with refuse_fractions():
            spec.loader.exec_module(module)
    except ConfigError as error:
        raise ConfigError(f"--space {name}: ", *error.args) from error
    except (Exception, SystemExit) as error:  # a user's file may raise anything
        what = " ".join(f"{type(error).__name__}: {error}".split())
        raise ConfigError(f"--space {name} cannot be read: {what}") from error
    space = getattr(module, "SPACE", None)
    if not isinstance(space, Space):
        raise ConfigError(f"--space {name} must define SPACE = Space(...), and does not")
    return space
