"""Adapters on disk, in peft's format: what can be known of them without torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from trainable.trial import CONDITIONS, ConfigError, TrialConfig, check_kind

TRIAL_FILES = ("trial.json", "trainer.json")  # of an export, of a checkpoint
ITS_TRAINING = {  # fields that decide nothing of who goes on with an adapter
    *("method", "adapter", "seed", "train_turns"),
    *(n for d, values, names in CONDITIONS if d == "schedule" or "full" in values for n in names),
}


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


def read_trial(folder: Path) -> dict[str, Any]:
    """The config of the trial that left the adapter, as a checkpoint or an export tells it; {}
    where neither is there."""
    for path in (folder / name for name in TRIAL_FILES):
        if path.is_file():
            return dict(json.loads(path.read_text(encoding="utf-8"))["config"])
    return {}


def inherit(adapter: str | None) -> dict[str, Any]:
    """What is the adapter's own where nothing else is set: model, text, decoding, and its shape; of
    one that no trial left, the model alone. Raises ConfigError when the folder holds no adapter."""
    check_kind("adapter", adapter, "str | None")
    if adapter is None:
        return {}
    folder = Path(adapter)
    base = read_adapter_config(folder).get("base_model_name_or_path")
    told = read_trial(folder) or ({"base_model": base} if base else {})
    kept = {name: value for name, value in told.items() if name not in ITS_TRAINING}
    if not is_known_elsewhere(str(kept.get("corpus", ""))):
        kept.pop("corpus", None)
    return kept


def is_known_elsewhere(corpus: str) -> bool:
    """Whether a corpus's name says where it is: an export tells a folder's last name alone."""
    return corpus in ("cambridge", "multiwoz") or "/" in corpus or Path(corpus).is_dir()


def rank_of(config: TrialConfig) -> int:
    """The rank of the adapter that a trial trains or brings along; 1 where there is none."""
    if config.lora_rank is not None:
        return config.lora_rank
    return 1 if config.adapter is None else int(read_adapter_config(Path(config.adapter))["r"])
