"""What a field of SweepConfig is on the command line: declared on the field itself."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass


@dataclass(frozen=True)
class Flag:
    """`Annotated[int, Flag(...)]`: parser, help, checks and --config are made from it."""

    help: str
    group: str  # under which --help shows it
    _: KW_ONLY
    low: float | None = None  # the lowest value allowed
    choices: tuple[str, ...] = ()
    spelt: str = ""  # the flag, where the field's own name is not it
    metavar: str | None = None
    auto: str = ""  # what happens where the flag is not given, in words
    resumable: bool = False  # whether --resume may change it
    bare: float | None = None  # its value where the flag is given without one

    def spell(self, name: str) -> str:
        return "--" + (self.spelt or name).replace("_", "-")
