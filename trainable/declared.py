"""What is known of a field of TrialConfig, where the field stands: its help, what it may be, and
under which others it exists."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Allowed = tuple[float, float] | tuple[str, ...]
Condition = tuple[str, tuple[str, ...]]  # a field, and its values


@dataclass(frozen=True, kw_only=True)
class Declared:
    """What is known of a field where it stands; checks, `tune.fields` and spaces read it there."""

    help: str
    choices: tuple[str, ...] = ()
    within: tuple[float, float] | None = None  # the lowest and the highest value allowed
    only_with: Condition | None = None  # the field is None under other values
    is_optional: bool = False  # None has a meaning under these values, too


def declare(
    default: Any,
    help: str,
    allowed: Allowed = (),
    only_with: Condition | None = None,
    *,
    is_optional: bool = False,
) -> Any:
    """A field of TrialConfig. `allowed`: choices, or the lowest and the highest value."""
    is_range = bool(allowed) and not isinstance(allowed[0], str)
    values: dict[str, Any] = {"within" if is_range else "choices": allowed}
    declared = Declared(help=help, only_with=only_with, is_optional=is_optional, **values)
    return field(default=default, metadata={"declared": declared})
