"""What goes wrong with a trial. An error that is found below all commands names the field to set;
how that is set is told by the command, each of which has other flags."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from difflib import get_close_matches

SET = "--set"  # the flag of the commands in which every field may be set


@dataclass(frozen=True)
class Setting:
    """A field of TrialConfig that the user is to set, as part of an error's text."""

    field: str
    value: str = ""

    def spell(self, flags: Collection[str]) -> str:
        """For a command that has those flags: --set, the field's own, or where the field was set.

        >>> Setting("corpus", "FOLDER").spell(["--set", "--json"])
        '--set corpus=FOLDER'
        >>> Setting("corpus", "FOLDER").spell(["--corpus"]), Setting("corpus").spell(["--corpus"])
        ('--corpus FOLDER', '--corpus')
        >>> Setting("layout", "lines").spell(["--out"])
        'tune.run --set layout=lines'
        """
        own = "--" + self.field.replace("_", "-")
        if SET not in flags and own in flags:
            return f"{own} {self.value}".rstrip()
        command = "" if SET in flags else "tune.run "
        return f"{command}{SET} {self.field}={self.value}"


class ConfigError(ValueError):
    """Bad input, in one line: the rule, the value, the flag, the remedy. Commands exit with 2.
    Its arguments are the line's parts, those that the command spells being of the kind Setting."""

    def __init__(self, *parts: str | Setting) -> None:
        super().__init__(*parts)

    def __str__(self) -> str:
        return self.spell([SET])

    def spell(self, flags: Collection[str]) -> str:
        """The line, for a command that has those flags."""
        return "".join(p.spell(flags) if isinstance(p, Setting) else str(p) for p in self.args)


class Missing(ConfigError):
    """A base model or corpus that cannot be read on this machine: another may have it."""


class CannotPack(ConfigError):
    """What the packed engine does not compute as transformers does: why, in a few words."""


class TrialFailed(RuntimeError):
    """A trial that cannot go on (a loss that is not finite, no memory): its reason, in one line."""


def nearest(name: str, known: Iterable[str]) -> str:
    """ " (did you mean X?)", where something known is near enough.

    >>> nearest("lora_rnk", ["lora_rank", "seed"])
    ' (did you mean lora_rank?)'
    """
    found = get_close_matches(name, list(known), 1)
    return f" (did you mean {found[0]}?)" if found else ""
