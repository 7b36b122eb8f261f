"""The folder that goes out: written beside its place, then put there whole."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainable.model.special_ids import list_silent
from trainable.storage.adapter import read_adapter_config
from trainable.storage.checkpoint import read_evaluation
from trainable.system.whole import write_json
from trainable.trial import ConfigError, TrialConfig
from tune.export.card import CURVE, write_card
from tune.export.choice import Choice
from tune.export.content import Export
from tune.export.metrics import (
    describe_data,
    read_scores,
    take_validation,
    to_entries,
    write_entries,
)
from tune.export.origin import (
    ADAPTER,
    ADAPTER_CONFIG,
    GENERATION,
    GGUF,
    MERGED,
    RECORD,
    compose_record,
    find_licence,
    name_base,
)
from tune.export.snippets import pick_example
from tune.export.tokens import load_tokens, read_special, spell_generation


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """How a trial is to go out: the command's flags."""

    where: str  # the repository, or the folder's own name
    base_model_id: str | None = None
    dataset_id: str | None = None
    licence: str | None = None  # of the base model
    scores: Sequence[Path] = ()  # files of tune.evaluate --json
    is_merged: bool = False  # the whole model, in the adapter's place
    gguf: tuple[str, ...] = ()  # and as GGUF files of these kinds

    @property
    def is_whole(self) -> bool:
        return self.is_merged or bool(self.gguf)


@contextmanager
def placed(out: Path) -> Iterator[Path]:
    """A draft to write into, which takes `out`'s place at the end. Raises ConfigError where that
    is taken by anything but an earlier export."""
    is_free = not out.exists() or (out.is_dir() and not any(out.iterdir()))
    if not is_free and not (out / RECORD).is_file():
        raise ConfigError(
            f"--out must be a new or empty folder or an earlier export, and {out} is none: choose "
            "another"
        )
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    except OSError as error:
        raise ConfigError(f"--out must be a folder that can be written: {error}") from error
    try:
        yield draft
        open_to_read(draft)
        if out.exists():
            shutil.rmtree(out)
        os.replace(draft, out)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def open_to_read(folder: Path) -> None:
    """Temporary folders and safetensors' files are made for their owner alone."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


def write_export(choice: Choice, wanted: Wanted, folder: Path) -> dict[str, Any]:
    """Writes all files into the folder; returns trial.json's content. Raises ConfigError."""
    base = name_base(choice.config, wanted.base_model_id, is_merged=wanted.is_whole)
    record = compose_record(choice, base)
    data = describe_data(choice.config.corpus, wanted.dataset_id)
    scores = [read_scores(path, record["adapter_sha256"]) for path in wanted.scores]
    scores.insert(0, take_validation(choice.evaluation))
    tokens = load_tokens(choice.config)
    generation = spell_generation(choice.config, tokens)
    dtype = pick_dtype(choice)
    if wanted.is_merged:
        from tune.export.merge import write_merged

        record[MERGED] = write_merged(choice, tokens, generation, dtype, folder)
    if wanted.gguf:
        from tune.export.checked_gguf import write_checked

        tokens.tokenizer.save_pretrained(folder)
        record[GGUF] = write_checked(choice, tokens, generation, dtype, wanted.gguf, folder)
    if not wanted.is_whole:
        write_adapter(choice, str(base), folder)
    generation.to_json_file(folder / GENERATION)
    draw_curve(choice, folder / CURVE)
    write_entries(to_entries(scores, data), folder, name=choice.config.corpus.rpartition("/")[2])
    write_json(folder / RECORD, record)
    responses = read_evaluation(choice.checkpoint).responses
    chat = read_special(choice.config, tokens).chat
    export = Export(
        choice=choice,
        where=wanted.where,
        base=base,
        is_merged=wanted.is_whole,
        has_weights=wanted.is_merged or not wanted.gguf,
        gguf=wanted.gguf,
        adapter_fields={} if wanted.is_whole else read_adapter_config(folder),
        record=record,
        scores=scores,
        data=data,
        licence=find_licence(choice.config, base, wanted.licence),
        dtype=dtype,
        prefix_ids=tokens.special.prefix,
        silent_ids=list_silent(tokens.tokenizer, tokens.special.spoken),
        example=pick_example(choice.config, chat, choice.evaluation.split, responses),
    )
    write_card(export).save(folder / "README.md")
    return record


def pick_dtype(choice: Choice) -> str:
    """What the trial computed in, as it was recorded; of an older record: fp32 on a CPU, bf16 on a
    GPU, or its base's own type."""
    resolved = choice.trial.resolved
    if resolved is not None and resolved.compute:
        return {"fp16": "float16", "bf16": "bfloat16", "fp32": "float32"}[resolved.compute]
    on_cpu = resolved is None or resolved.device in ("", "cpu")
    match choice.config.quantisation:
        case "fp32":
            return "float32"
        case "bf16":
            return "bfloat16"
    return "float32" if on_cpu else "bfloat16"


def write_adapter(choice: Choice, base: str, folder: Path) -> None:
    """The checkpoint's adapter, with the base's hub id in the place of a local name."""
    shutil.copyfile(choice.checkpoint / ADAPTER, folder / ADAPTER)
    config = json.loads((choice.checkpoint / ADAPTER_CONFIG).read_text(encoding="utf-8"))
    config["base_model_name_or_path"] = base
    text = json.dumps(config, indent=1) + "\n"
    (folder / ADAPTER_CONFIG).write_text(text, encoding="utf-8")
    check_loads(choice.config, folder)


def check_loads(config: TrialConfig, folder: Path) -> None:
    """Raises ConfigError unless plain peft finds a place for every tensor of the adapter, on the
    base model without its weights."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM

    from trainable.model.source import explained, locate
    from trainable.solo.adapter import put_adapter
    from trainable.system.environment import trusts_remote_code

    source, trust = locate(config.base_model), trusts_remote_code()
    with explained(config.base_model), torch.device("meta"):
        shape = AutoConfig.from_pretrained(source.name, trust_remote_code=trust, **source.arguments)
        kind = AutoModelForSeq2SeqLM if shape.is_encoder_decoder else AutoModelForCausalLM
        model = kind.from_config(shape, trust_remote_code=trust)
    put_adapter(model, folder)


def draw_curve(choice: Choice, path: Path) -> None:
    """The sweep's learning curves, the exported trial's among those by name."""
    from analysis.plots.training import plot_curves
    from analysis.static import draw_static

    figure = plot_curves(choice.records)
    evals = choice.trial.replied
    if choice.trial.id not in [trace.name for trace in figure.data]:
        figure.add_scatter(
            x=[e.turns_seen for e in evals],
            y=[e.value for e in evals],
            name=choice.trial.id,
            mode="lines+markers",
            line={"width": 3},
        )
    draw_static(figure).save(path)
