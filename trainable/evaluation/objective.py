"""What trials are compared by: one of the metrics here, or a Python function of the user's own.

A function is called as `function(dialogues, replies)` with the dialogues of an evaluation and, for
each of them, the list of its replies. It returns a number, or a mapping of metrics whose first is
the objective; under "dialogues" that mapping may have a score for each dialogue id, which the
bootstrap over dialogues then uses.
"""

import hashlib
import tokenize
from dataclasses import dataclass, field
from pathlib import Path

from trainable.result import LOWER_IS_BETTER
from trainable.system.user_files import list_folders
from trainable.trial import ConfigError, nearest

PYTHON, SEMANTIC = "python:", "semantic:"
# Combined lies in 0..200, the loss is in nats a word, the others lie in 0..100
OWN = ("combined", "loss", "bleu", "rouge", "exact", "slots", "semantic")
DIRECTIONS = ("max", "min")


@dataclass(frozen=True, kw_only=True)
class Objective:
    """`name`: one of OWN, or the function's."""

    name: str = "combined"
    direction: str = "max"
    file: str = ""  # of a function, as it was given
    source: str = field(default="", repr=False)  # of that file: what is run
    folders: tuple[str, ...] = field(default=(), repr=False)  # where its imports are looked for
    encoder: str = ""  # of semantic: a sentence-transformers model; empty: the base model itself

    @property
    def is_python(self) -> bool:
        return bool(self.file)

    @property
    def sha256(self) -> str:
        """Of the source; empty for a metric of ours."""
        return hashlib.sha256(self.source.encode()).hexdigest() if self.is_python else ""


COMBINED = Objective()


def read_objective(text: str, direction: str | None = None) -> Objective:
    """What `--objective` and `--direction` say. A function's file is read, not run. Raises
    ConfigError."""
    if direction not in (None, *DIRECTIONS):
        raise ConfigError(f"--direction must be max or min, not {direction!r}")
    if text.startswith(PYTHON):
        return _read_function(text, direction or "max")
    text, _, encoder = text.partition(":") if text.startswith(SEMANTIC) else (text, "", "")
    if text not in OWN:
        raise ConfigError(
            f"--objective must be one of {', '.join(OWN)}, semantic:MODEL, or "
            f"python:FILE:FUNCTION, not {text!r}{nearest(text, OWN)}"
        )
    own = "min" if text in LOWER_IS_BETTER else "max"
    if direction not in (None, own):
        raise ConfigError(f"--objective {text} has the direction {own}: leave out --direction")
    is_folder = bool(encoder) and Path(encoder).expanduser().is_dir()
    place = str(Path(encoder).expanduser().resolve()) if is_folder else encoder
    return Objective(name=text, direction=own, encoder=place)


def name_spelt(text: str) -> str:
    """The name of an objective as a flag or a record spells it.

    >>> name_spelt("python:my/file.py:helpful"), name_spelt("semantic:all-MiniLM-L6-v2")
    ('helpful', 'semantic')
    """
    return text.rpartition(":")[2] if text.startswith(PYTHON) else text.partition(":")[0]


def _read_function(text: str, direction: str) -> Objective:
    file, _, name = text.removeprefix(PYTHON).rpartition(":")
    if not file or not name.isidentifier():
        raise ConfigError(f"--objective takes python:FILE:FUNCTION, not {text!r}")
    if name in OWN:
        raise ConfigError(f"--objective: {name} is a metric of ours: rename the function")
    path = Path(file).expanduser()
    try:
        with tokenize.open(path) as lines:  # by its own encoding
            source = lines.read()
        tree = compile(source, file, "exec")
    except (OSError, ValueError, SyntaxError) as error:
        raise ConfigError(f"--objective: {file} cannot be read as Python ({error})") from error
    if name not in tree.co_names:
        raise ConfigError(
            f"--objective: {file} must define the function {name}{nearest(name, tree.co_names)}"
        )
    return Objective(
        name=name, direction=direction, file=file, source=source, folders=list_folders(path)
    )
