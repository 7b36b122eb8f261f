"""Where an exported model comes from: the name of its base, and trial.json, written and read."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from analysis.curves import measure_gpu_hours
from trainable.model.fingerprint import hash_file
from trainable.model.identity import KEY
from trainable.model.source import EMBEDDED, locate
from trainable.storage.adapter import read_origin
from trainable.system.hub import settle_network
from trainable.system.json_object import read_object
from trainable.trial import ConfigError, TrialConfig
from tune.export.choice import Choice
from tune.export.hub import check_repo_name, find_http_error

FORMAT = 1
RECORD = "trial.json"
ADAPTER_CONFIG, ADAPTER = "adapter_config.json", "adapter_model.safetensors"
GENERATION = "generation_config.json"  # written unchecked: transformers refuses contrastive search
GGUF = "gguf"  # of a record: what is known of its GGUF files
MERGED = "merged"  # of a record: the merge's figures; the folder of a model in earlier exports
PRIVATE = ("place", "started_s", "time_s")  # fields of an evaluation: machines and hours


def name_base(config: TrialConfig, given: str | None, *, is_merged: bool) -> str | None:
    """The hub id under which others find the base model; None where there is none, and a merged
    model goes out. Raises ConfigError where an adapter would have no base."""
    if given is not None:
        check_repo_name(given, "--base-model-id")
        return given
    if config.initialisation == "random":
        why = "was initialised at random"
    elif config.base_model == EMBEDDED or Path(locate(config.base_model).name).is_dir():
        why = f"{config.base_model!r} is a local one"
    else:
        return config.base_model
    if is_merged:
        return None
    raise ConfigError(
        f"an adapter needs a base model that others can load, and its base {why}: give the hub id "
        "of the same weights with --base-model-id, or export the whole model (--merged, --gguf)"
    )


def compose_record(choice: Choice, base: str | None) -> dict[str, Any]:
    """trial.json: everything that decided the outcome, the outcome, and no name of a machine or
    of a folder."""
    trial, records = choice.trial, choice.records
    return {
        "format": FORMAT,
        "sweep": records.name,
        "space": {"name": records.space.get("name"), "question": records.space.get("question")},
        "trial": trial.id,
        "params": dict(trial.params),
        "config": to_portable(choice.config, base),
        "base_model": base,
        KEY: read_origin(choice.checkpoint).get(KEY, {}),
        "adapter_sha256": hash_file(choice.checkpoint / ADAPTER),
        "resolved": asdict(trial.resolved) if trial.resolved else None,
        "evaluation": {n: v for n, v in asdict(choice.evaluation).items() if n not in PRIVATE},
        "curve": [
            {
                "turns_seen": e.turns_seen,
                "combined": e.combined,
                "value": e.value,
                "n_dialogues": e.n_dialogues,
            }
            for e in trial.replied
        ],
        "gpu_hours": round(measure_gpu_hours(records.trials)[trial.id], 4),
        "versions": dict(records.versions),
        "commit": records.commit,
    }


def to_portable(config: TrialConfig, base: str | None) -> dict[str, Any]:
    """The config without local paths: a folder is told by its last name alone."""
    values = config.to_dict()
    for name in ("base_model", "corpus", "adapter"):
        value = values.get(name)
        if value is not None and (Path(value).expanduser().exists() or value[0] in "/.~"):
            values[name] = Path(value).name
    return {**values, "base_model": base or values["base_model"]}


def read_record(folder: Path) -> dict[str, Any]:
    """trial.json of an exported folder or of the merged model in one; empty where there is none.
    Raises ConfigError where it cannot be read."""
    place = (folder.parent if folder.name == MERGED else folder) / RECORD
    if not place.is_file():
        return {}
    try:
        record = read_object(place)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{place} cannot be read ({error}): export the trial anew") from error
    if record.get("format") != FORMAT:
        raise ConfigError(
            f"{place} has format {record.get('format')}, this version reads {FORMAT}: export the "
            "trial anew, or update the package"
        )
    return record


def find_licence(config: TrialConfig, base: str | None, given: str | None) -> str | None:
    """The base model's licence: as given, or as its page on the Hub tells; None where neither."""
    if given or config.base_model == EMBEDDED:
        return given or "mit"
    if base is None:
        return None
    from huggingface_hub import HfApi
    from huggingface_hub.errors import HFValidationError

    settle_network()
    try:
        card = HfApi().model_info(base, timeout=10).card_data
    except (find_http_error(), OSError, HFValidationError):
        return None
    return card.get("license") if card else None
