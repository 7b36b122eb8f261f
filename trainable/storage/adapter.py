"""Adapters on disk, in peft's format: what can be known of them without torch."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainable.declared import check_kind
from trainable.rank_pattern import parse_rank_pattern
from trainable.storage.adapter_ranks import as_plain
from trainable.system.json_object import read_object
from trainable.trial import CONDITIONS, KINDS, ConfigError, Setting, TrialConfig

WEIGHTS = "adapter_model.safetensors"
TRIAL_FILES = ("trial.json", "trainer.json")  # of an export, of a checkpoint
PARTS = ("config", "base")  # of these: its TrialConfig, and which base model it stands on
ITS_TRAINING = {  # fields that decide nothing of who goes on with an adapter
    *("method", "adapter", "seed", "train_turns", "lora_plus_ratio", "lora_init"),
    *(n for d, values, names in CONDITIONS if d == "schedule" or "full" in values for n in names),
}


def read_adapter_config(folder: Path) -> dict[str, Any]:
    """A peft adapter's own configuration. Raises ConfigError when the folder holds none."""
    path = folder / "adapter_config.json"
    try:
        return read_object(path)
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"adapter must be a folder in peft's format, and {path} cannot be read ({error}): "
            "give another with ",
            Setting("adapter", "FOLDER"),
        ) from error


def read_tensor_shapes(folder: Path) -> dict[str, tuple[int, ...]]:
    """Name -> shape of every tensor of a peft adapter. Raises ConfigError where they are not there
    or not in safetensors."""
    from safetensors import SafetensorError, safe_open

    path = folder / WEIGHTS
    try:
        with safe_open(path, framework="np") as weights:
            names = list(weights.keys())
            return {name: tuple(weights.get_slice(name).get_shape()) for name in names}
    except (OSError, SafetensorError) as error:
        is_pickled = not path.exists() and (folder / "adapter_model.bin").exists()
        remedy = "save it anew as safetensors" if is_pickled else "give a LoRA adapter of peft's"
        raise ConfigError(f"{path} cannot be read ({error}): {remedy}") from error


def read_origin(folder: Path) -> dict[str, Any]:
    """What the trial that left the adapter told of itself, as a checkpoint or an export has it; {}
    where neither is there. Raises ConfigError where that cannot be read."""
    for path in (folder / name for name in TRIAL_FILES):
        if not path.is_file():
            continue
        try:
            return check_parts(read_object(path))
        except (OSError, ValueError) as error:
            raise ConfigError(f"{path} cannot be read ({error}): export the trial anew") from error
    return {}


def check_parts(told: dict[str, Any]) -> dict[str, Any]:
    """Without the parts that are null. Raises ValueError where one of them is no object."""
    for name in (name for name in PARTS if name in told):
        if told[name] is None:
            del told[name]
        elif not isinstance(told[name], dict):
            raise ValueError(f"its {name} is {told[name]!r:.60}")
    return told


def read_trial(folder: Path) -> dict[str, Any]:
    """The config of the trial that left the adapter; {} where none did."""
    return dict(read_origin(folder).get("config", {}))


def inherit(adapter: str | None) -> dict[str, Any]:
    """What is the adapter's own where nothing else is set: model, text, decoding, and its shape; of
    one that no trial left, the model and its shape. Raises ConfigError when the folder holds no
    adapter."""
    check_kind("adapter", adapter, KINDS["adapter"])
    if adapter is None:
        return {}
    folder = Path(adapter)
    fields = read_adapter_config(folder)
    check_shape({"r": 1, **fields}, folder)
    told = read_trial(folder) or spell_shape(fields)
    if told.get("lora_init") == "pissa":
        told = as_plain(TrialConfig.from_dict(told)).to_dict()
    kept = {name: value for name, value in told.items() if name not in ITS_TRAINING}
    if not is_known_elsewhere(str(kept.get("corpus", ""))):
        kept.pop("corpus", None)
    return kept


def spell_shape(fields: dict[str, Any]) -> dict[str, Any]:
    """A foreign adapter's base model, rank and scale as TrialConfig names them.

    >>> spell_shape({"base_model_name_or_path": "tiny", "r": 4, "lora_alpha": 8})
    {'base_model': 'tiny', 'lora_rank': 4, 'alpha_over_rank': 2.0, 'rslora': False}
    """
    base = fields.get("base_model_name_or_path")
    shape: dict[str, Any] = {"base_model": base} if base else {}
    if "r" in fields:
        rank = fields["r"]
        shape |= {"lora_rank": rank, "alpha_over_rank": fields.get("lora_alpha", 8) / rank}
        shape["rslora"] = bool(fields.get("use_rslora"))
        if fields.get("use_dora"):
            shape["dora"] = True
    return shape


def check_shape(fields: Mapping[str, Any], folder: Path) -> None:
    """Raises ConfigError where rank or alpha are none."""
    rank, alpha = fields.get("r"), fields.get("lora_alpha", 8)
    place = f"{folder / 'adapter_config.json'}"
    if not isinstance(rank, int) or isinstance(rank, bool) or rank < 1:
        raise ConfigError(f"r must be a whole number above 0, and is {rank!r} in {place}")
    if not isinstance(alpha, int | float) or isinstance(alpha, bool):
        raise ConfigError(f"lora_alpha must be a number, and is {alpha!r} in {place}")


def is_known_elsewhere(corpus: str) -> bool:
    """Whether a corpus's name says where it is: an export tells a folder's last name alone."""
    return corpus in ("cambridge", "multiwoz") or "/" in corpus or Path(corpus).is_dir()


def rank_of(config: TrialConfig) -> int:
    """The highest rank of what a trial trains or brings along; 1 where there is no adapter."""
    if config.lora_rank is not None:
        plain = as_plain(config)
        return max(plain.lora_rank or 1, *parse_rank_pattern(plain.rank_pattern).values(), 0)
    if config.adapter is None:
        return 1
    fields = read_adapter_config(Path(config.adapter))
    return max(int(fields["r"]), *map(int, (fields.get("rank_pattern") or {}).values()), 0)
