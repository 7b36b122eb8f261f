"""What a resumed sweep must find as it was. Each check raises ConfigError in one line."""

import os
from collections.abc import Collection, Iterable
from pathlib import Path

from analysis.records import SweepRecords
from trainable.model.packable import is_toy
from trainable.trial import ConfigError, TrialConfig

FILES = ("sweep.json", "evals.jsonl")


def check_trials(records: SweepRecords, trials: int | None) -> None:
    """--trials takes nothing back."""
    proposed = len(records.proposed)
    if trials is not None and trials < proposed:
        raise ConfigError(
            f"--trials {trials} is below the {proposed} trials that {records.name} has proposed "
            f"already: give at least {proposed}, or leave it out"
        )


def check_files(folder: Path) -> None:
    """The records can be gone on with, in a folder that can be written or not."""
    for path in (folder / name for name in FILES):
        if path.exists() and not (path.is_file() and os.access(path, os.W_OK)):
            raise ConfigError(
                f"--resume appends to {path}, and that cannot be written: make it a file of "
                "yours (chmod u+w), or copy the sweep's folder"
            )


def describe_move(
    records: SweepRecords, has_gpus: bool, models: Collection[str] = ()
) -> str | None:
    """What to know where a sweep begun on a CPU goes on with GPUs, or the other way round, or on
    GPUs of other `models` (H200, ...)."""
    devices = {t.resolved.device for t in records.trials if t.resolved} - {"", "none"}
    if not devices:
        return None
    if has_gpus == (devices == {"cpu"}):
        now = "with a GPU" if has_gpus else "without a GPU"
    elif models and not any(model in device for model in models for device in devices):
        now = f"with {', '.join(sorted(models))}"
    else:
        return None
    began = ", ".join(sorted(devices))
    return f"begun on {began}, goes on {now}: results may differ in their last digits"


def check_same_bases(records: SweepRecords, configs: Iterable[TrialConfig]) -> None:
    """The base models are those that the sweep's trials met: their weights, and what their
    tokenizers write."""
    for config in {c.base_model: c for c in configs if not is_toy(c)}.values():
        told = [
            t.resolved.base
            for t in records.trials
            if t.resolved and t.resolved.base and t.config.get("base_model") == config.base_model
        ]
        if not told:
            continue
        from trainable.model.fingerprint import fingerprint
        from trainable.model.identity import check_identity, identify
        from tune.export.tokens import load_tokens

        tokens = load_tokens(config)
        own = identify(config.base_model, tokens.tokenizer, tokens.special, is_random=True)
        weights = None if told[-1].get("weights") is None else fingerprint(config.base_model)
        try:
            check_identity(told[-1], {**own, "weights": weights}, f"sweep {records.name}")
        except ConfigError as error:
            what = str(error).partition("; give")[0]
            raise ConfigError(
                f"{what}: put back what it began with, or start a new sweep (--name)"
            ) from None
