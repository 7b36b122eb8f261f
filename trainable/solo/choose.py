"""How a trial is opened in this process: a formula, the engine with one slot, or transformers."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from trainable.corpus.prompt import finds_state
from trainable.finetuner import Finetuner
from trainable.model.packable import is_encoder_decoder, is_toy, why_alone
from trainable.trial import CannotPack, ConfigError, Setting, TrialConfig

if TYPE_CHECKING:
    from trainable.solo.train import PlainFinetuner


def open_finetuner(
    config: TrialConfig, device: str, start: Path | None = None, *, keeps: bool = False
) -> Finetuner:
    """A trial alone in this process, from its beginning or from the checkpoint `start`: a formula,
    an engine with one slot, or, where the engine cannot take it, transformers itself. `keeps`: its
    engine is left open for the process's next trial."""
    if is_toy(config):
        from trainable.solo.toy import ToyFinetuner

        return ToyFinetuner(config, start=start)
    if why_alone(config) is not None:
        return open_plain(config, device, start)
    from trainable.engine.device.memory import give_back_memory
    from trainable.engine.finetuner import SoloFinetuner

    with suppress(CannotPack):  # the engine's check of itself; its verdict is kept
        return SoloFinetuner(config, device, start, keeps=keeps)
    give_back_memory()  # the engine's copy of the model goes before another is loaded
    return open_plain(config, device, start)


def open_plain(config: TrialConfig, device: str, start: Path | None = None) -> PlainFinetuner:
    """The trial's own copy of its model. Raises ConfigError where config and model do not fit."""
    from trainable.model.base import BaseSpec, load_base
    from trainable.solo.train import PlainFinetuner

    check_plain(config)
    return PlainFinetuner(config, load_base(BaseSpec.of(config, device=device)), start)


def check_plain(config: TrialConfig) -> None:
    """Raises ConfigError where the trial runs in the engine only, or nowhere."""
    if config.method == "full" and config.quantisation not in ("bf16", "fp32"):
        raise ConfigError(
            f"method=full trains the weights themselves, and quantisation={config.quantisation} "
            "freezes them: give ",
            *(Setting("quantisation", "bf16"), " or fp32"),
        )
    if config.neftune_alpha and is_encoder_decoder(config):
        raise ConfigError(
            f"neftune_alpha is for decoders, and {config.base_model} is an encoder-decoder: leave "
            "it out (",
            *(Setting("neftune_alpha", "0"), ")"),
        )
    if config.decoding == "contrastive":
        raise ConfigError(
            f"decoding=contrastive runs in the engine only, and this trial cannot "
            f"({why_alone(config)}): take greedy, sampling or beam (",
            *(Setting("decoding"), ")"),
        )
    if finds_state(config):
        raise ConfigError(
            f"target={config.target} runs in the engine only, and this trial cannot "
            f"({why_alone(config)}): give ",
            Setting("target", config.target.removeprefix("state+")),
        )
