"""A sweep as a YAML file: the flags by their names, the space and the fixed fields as mappings.
Every sweep's folder holds the one that repeats it."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from search_spaces.notation import write_space
from search_spaces.space import Space
from trainable.trial import ConfigError
from tune.search.config import FLAGS, KINDS, SweepConfig

NAME = "sweep.yaml"
DERIVED = ("seed", "train_turns", "warmup_turns")  # fields of a base that follow from flags


class Loader(yaml.SafeLoader):
    """YAML 1.2's plain words: `off` is a text, 1e-4 is a number."""


Loader.yaml_implicit_resolvers = {
    first: [(tag, rule) for tag, rule in rules if not tag.endswith((":bool", ":float"))]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("^(true|false)$"), list("tf"))
Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d+\.\d*|\.\d+|\d+)([eE][-+]?\d+)?$"),
    list("-+.0123456789"),
)


def spell_sweep(config: SweepConfig, space: Space) -> str:
    """The file that repeats the sweep, under another name."""
    flags = {n: getattr(config, n) for n in FLAGS if n != "name"}
    kept = {FLAGS[n].spelt or n: list(v) if isinstance(v, tuple) else v for n, v in flags.items()}
    values = {
        "profile": config.profile,
        **{name: value for name, value in kept.items() if value is not None},
        "base": {name: value for name, value in config.base.items() if name not in DERIVED},
        "space": write_space(space),
    }
    text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
    return f"# Repeats the sweep {config.name}: qlora-search run --config {NAME}\n{text}"


def read_flags(path: Path) -> tuple[list[str], dict[str, Any]]:
    """The flags that a file gives, as on a command line, and its mappings (space, base). Raises
    ConfigError."""
    try:
        values = yaml.load(path.read_text(encoding="utf-8"), Loader)
    except (OSError, UnicodeError, yaml.YAMLError) as error:
        why = " ".join(str(error).split())
        raise ConfigError(f"--config {path} cannot be read: {why}") from error
    if not isinstance(values, dict):
        raise ConfigError(f"--config {path} must hold flags and their values, such as trials: 16")
    mappings = {n: values.pop(n) for n in ("space", "base") if isinstance(values.get(n), dict)}
    fixed = values.pop("set", None) or {}
    if not isinstance(fixed, Mapping):
        raise ConfigError(f"--config {path}: set holds fields and their values, not {fixed!r}")
    words = [f"--set={name}={spell_value(value)}" for name, value in fixed.items()]
    return [*(w for n, v in values.items() for w in spell_flag(str(n), v)), *words], mappings


def spell_flag(name: str, value: Any) -> list[str]:
    name = name.replace("-", "_")
    if value is None or value == []:
        return []
    if KINDS.get(name) is bool or name in ("trust_remote_code", "dry_run"):
        is_default = value == getattr(SweepConfig, name, False)
        spelt = f"--no-{name}" if value is False else f"--{name}"
        return [] if is_default else [spelt.replace("_", "-")]
    text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    return [f"--{name.replace('_', '-')}={text}"]


def spell_value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
