"""Checks before Ray starts. Each raises ConfigError in one line."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optuna.distributions import BaseDistribution, CategoricalDistribution

from search_spaces.space import Space
from trainable.model.adapter_fields import check_adapter
from trainable.model.packable import is_toy, read_shape, why_alone
from trainable.solo.choose import check_plain
from trainable.trial import ConfigError, TrialConfig
from tune.folder.disk import format_bytes

if TYPE_CHECKING:
    from trainable.corpus.corpus import Corpus

LAYER_FIELDS = ("lora_modules", "lora_layers", "lora_rank", "rank_pattern")
LEAST_FREE_BYTES = 2**28


def check_space(space: Space, base: Mapping[str, Any]) -> list[TrialConfig]:
    """The configs of the space's corners: its first points, its lowest and highest values, and
    every choice of every field."""
    points = [dict(point) for point in space.first]
    points += [space.sample(_take(0)), space.sample(_take(-1))]
    for name, distribution in space.searched.items():
        if isinstance(distribution, CategoricalDistribution):
            for choice in distribution.choices:
                points.append(space.sample(_take(0, {name: choice})))
    corners = [{**space.sample(_take(0, point)), **point} for point in points]
    return [space.to_config(corner, base) for corner in corners]


def _take(end: int, given: Mapping[str, Any] | None = None) -> Any:
    def choose(name: str, distribution: BaseDistribution) -> Any:
        if given and name in given:
            return given[name]
        if isinstance(distribution, CategoricalDistribution):
            return distribution.choices[end]
        return (distribution.low, distribution.high)[end]  # type: ignore[attr-defined]

    return choose


def check_materials(configs: Iterable[TrialConfig]) -> None:
    """Every base model, corpus and adapter that the configs name is there."""
    real = [c for c in configs if not is_toy(c)]
    for config in {(c.adapter, c.method, c.lora_rank): c for c in real}.values():
        check_adapter(config)
        check_prompts(config)
    for base_model in sorted({c.base_model for c in real}):
        from trainable.model.source import check_base

        check_base(base_model)
        own = [c for c in real if c.base_model == base_model]
        tell_positions(max(own, key=lambda c: c.max_length_tokens))
        check_layers(base_model, own)
        tell_experts(own)
        check_chat([c for c in own if c.layout == "chat"])
        for config in own:
            if why_alone(config) is not None:
                check_plain(config)
    for corpus in sorted({c.corpus for c in real}):
        from trainable.corpus.load import load_corpus

        tell_notes(load_corpus(corpus))


def tell_positions(config: TrialConfig) -> None:
    """Raises ConfigError where the longest dialogues do not fit the base model's positions."""
    from trainable.model.sizes import names_positions
    from trainable.model.source import locate

    is_gguf = locate(config.base_model).gguf_file is not None  # long to read
    if is_gguf or names_positions(config.base_model, config.max_length_tokens):
        return
    from trainable.model.positions import check_positions

    if note := check_positions(config):
        print(f"note: {note}", file=sys.stderr)


def tell_experts(configs: Sequence[TrialConfig]) -> None:
    """What of a mixture of experts is neither quantised nor adapted."""
    from trainable.model.sizes import is_mixture, read_sizes

    name = configs[0].base_model
    if not is_mixture(read_shape(name)) or all(c.method == "full" for c in configs):
        return
    sizes = read_sizes(name)
    number_bytes = 4 if all(c.quantisation == "fp32" for c in configs) else 2
    print(
        f"note: the experts of {name} are {sizes.expert_params / sizes.total_params:.0%} of its "
        f"parameters, {sizes.expert_params * number_bytes / 2**30:.2g} GiB of memory: they are "
        f"neither quantised nor adapted; adapters stand on its {len(sizes.layers)} linear layers",
        file=sys.stderr,
    )


def tell_notes(corpus: Corpus) -> None:
    """A line for whatever of the corpus is held out, dropped, kept as text, or was mended."""
    for note in corpus.notes:
        print(f"note: corpus {corpus.name}: {note}", file=sys.stderr)
    if corpus.moved_spans:
        print(
            f"note: {corpus.moved_spans} spans of corpus {corpus.name} did not cover the value "
            "that they carry, and were moved to it",
            file=sys.stderr,
        )


def check_prompts(config: TrialConfig) -> None:
    """The adapter's prompts were written with the tokenizer that the trial's will be."""
    from trainable.model.identity import KEY, check_identity
    from trainable.storage.adapter import read_origin

    if config.adapter is not None and (told := read_origin(Path(config.adapter)).get(KEY)):
        check_identity(told, identify_base(config), f"adapter {config.adapter}")


def identify_base(config: TrialConfig) -> Mapping[str, Any]:
    from trainable.model.identity import identify
    from tune.export.tokens import load_tokens

    tokens, is_random = load_tokens(config), config.initialisation == "random"
    return identify(config.base_model, tokens.tokenizer, tokens.special, is_random=is_random)


def check_chat(configs: Iterable[TrialConfig]) -> None:
    """The chat template that they want is there, with the instruction of each."""
    for config in {c.instruction: c for c in configs}.values():
        from tune.export.tokens import load_tokens, read_special

        read_special(config, load_tokens(config))


def fetch_bases(configs: Iterable[TrialConfig]) -> None:
    """Downloads the base models that are not here, where it can be watched; on a cluster each node
    does so for itself."""
    from trainable.model.source import fetch_base
    from tune.terminal.quiet import quieten

    quieten()
    if os.environ.get("RAY_ADDRESS", "local") != "local":
        return
    for base_model in sorted({c.base_model for c in configs if not is_toy(c)}):
        fetch_base(base_model)


def check_layers(base_model: str, configs: Iterable[TrialConfig]) -> None:
    """Each trial's choice of layers and ranks compiles and, where the model's weights are here,
    takes a layer of it."""
    from trainable.model.ranks import choose_ranks
    from trainable.model.selections import check_selection
    from trainable.model.sizes import is_mixture, read_sizes
    from trainable.model.source import read_layer_paths

    choices = {
        tuple(getattr(c, name) for name in LAYER_FIELDS): c for c in configs if c.lora_modules
    }
    chosen = [choices[key] for key in sorted(choices, key=str)]
    for config in chosen:
        check_selection(str(config.lora_modules))
    if not chosen:
        return
    is_stacked = is_mixture(read_shape(base_model))
    paths = tuple(read_sizes(base_model).layers) if is_stacked else read_layer_paths(base_model)
    if paths:
        for config in chosen:
            choose_ranks(config, paths)


def check_train_turns(configs: Iterable[TrialConfig], train_turns: int) -> None:
    longest = max(c.train_turns for c in configs)
    if longest > train_turns:
        raise ConfigError(
            f"no trial may train longer than the sweep: train_turns={longest} is above "
            f"--train-turns {train_turns}"
        )


def check_seeds(space: Space, seeds: int) -> None:
    if seeds > 1 and "seed" in {**space.searched, **space.fixed}:
        raise ConfigError(
            f"--seeds {seeds} gives every trial its seed, and so does the space or --set seed=: "
            "leave one of them out"
        )


def make_folder(folder: Path, needed_bytes: int = 0) -> None:
    """The new sweep's folder, which must not exist yet, on a disk with room for it."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(folder.parent, error) from error
    if not folder.exists() or is_unwritten(folder):
        check_disk(folder.parent, needed_bytes)
    try:
        folder.mkdir()
    except FileExistsError:
        if is_unwritten(folder):  # its driver was killed before the first word
            return
        raise ConfigError(
            f"the sweep {folder} exists: go on with it (--resume {folder.name}), or choose another "
            "--name"
        ) from None
    except OSError as error:
        raise unwritable(folder.parent, error) from error


def is_unwritten(folder: Path) -> bool:
    """Whether nothing is there but the lock of a driver, which tells one that is alive, and what is
    written before sweep.json."""
    unknown = {p.name for p in folder.iterdir()} - {".lock", "owner.json", "sweep.yaml"}
    drafts = (".owner.json-", ".sweep.json-", ".sweep.yaml-")
    return all(name.startswith(drafts) for name in unknown)


def unwritable(folder: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"--storage must be a folder that can be written, and {folder} is not ({error.strerror})"
    )


NEW = (
    "choose another --storage, a lower --concurrent, or a lower --parked-gib, under which more "
    "trials train again (--dry-run estimates)"
)
RESUMED = "move the sweep's folder to another disk, or give a lower --concurrent or --parked-gib"


def check_disk(folder: Path, needed_bytes: int = 0, remedy: str = NEW) -> None:
    """Raises ConfigError unless that much more can be written there."""
    if not os.access(folder, os.W_OK):
        raise ConfigError(f"the sweep's folder must be writable, and {folder} is not (--storage)")
    free_bytes = shutil.disk_usage(folder).free
    if free_bytes < max(needed_bytes, LEAST_FREE_BYTES):
        raise ConfigError(
            f"the disk of {folder} must have {format_bytes(max(needed_bytes, LEAST_FREE_BYTES))} "
            f"free for the sweep's checkpoints, and has {format_bytes(free_bytes)}: make room, "
            f"{remedy}"
        )
