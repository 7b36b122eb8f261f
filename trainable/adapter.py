"""Adapters on disk, in peft's format: what can be known of them without torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from trainable.trial import ConfigError, TrialConfig


def read_adapter_config(folder: Path) -> dict[str, Any]:
    """A peft adapter's own configuration. Raises ConfigError when the folder holds none."""
    path = folder / "adapter_config.json"
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"adapter must be a folder in peft's format, and {path} cannot be read ({error}): "
            "give another with --set adapter=FOLDER"
        ) from error


def rank_of(config: TrialConfig) -> int:
    """The rank of the adapter that a trial trains or brings along; 1 where there is none."""
    if config.lora_rank is not None:
        return config.lora_rank
    return 1 if config.adapter is None else int(read_adapter_config(Path(config.adapter))["r"])
