"""A sweep's header, sweep.json: what it is, as it was started."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec import convert

from analysis.lines import BOM, parse
from trainable.trial import ConfigError

FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Header:
    """The parts of sweep.json, all but its format optional."""

    format: int
    name: str | None = None
    space: dict[str, Any] | None = None
    config: dict[str, Any] | None = None
    versions: dict[str, str | None] | None = None
    commit: str | None = None
    created_s: float | None = None


def read_header(folder: Path) -> dict[str, Any]:
    """What `sweep.json` says. Raises ConfigError when the folder is no sweep's, or of a
    newer format than this version reads."""
    path = folder / "sweep.json"
    try:
        header = parse(path.read_bytes().removeprefix(BOM))
    except FileNotFoundError:
        raise ConfigError(f"{folder} is not a sweep's folder: it has no sweep.json") from None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read ({error}): restore it or start anew") from error
    version = header.get("format")
    if not isinstance(version, int):
        raise ConfigError(f"{path} states no format: it is not a sweep's record")
    if version > FORMAT:
        raise ConfigError(
            f"{path} has format {version}, this version reads up to {FORMAT}: update the package"
        )
    try:
        convert(header, Header)
    except ValueError as error:
        raise ConfigError(f"{path} cannot be read ({error}): restore it") from error
    searched = (header.get("space") or {}).get("searched") or {}
    if not isinstance(searched, dict) or not all(map(_is_distribution, searched.values())):
        raise ConfigError(f"{path} cannot be read (a field has no distribution): restore it")
    return header


def _is_distribution(value: Any) -> bool:
    found: Any = value.get("attributes") if isinstance(value, dict) else None
    return isinstance(found, dict) and ("choices" in found or {"low", "high"} <= set(found))
