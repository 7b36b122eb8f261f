"""A GGUF file as an ordinary checkpoint, kept in the user's cache: transformers needs half a minute
for such a file's vocabulary and weights, and would need it in every process again."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerBase

from trainable.model.fingerprint import hash_file
from trainable.model.loaded import check_loaded
from trainable.model.quantise import drop_quantiser
from trainable.model.source import Source, explained
from trainable.system.cache import find_cache_folder
from trainable.trial import ConfigError, Setting

COMMON = ("the", "for", "with", "have", "about", "there", "which")
SPACES = "Ġ▁"  # in front of a word, as byte-level BPE and SentencePiece write one in a vocabulary


def unpack(source: Source) -> Source:
    """The same model where transformers opens it at once; the source itself where it does already,
    or where nothing can be kept. Raises ConfigError where the file is no whole model."""
    if source.gguf_file is None:
        return source
    try:
        changed_ns = (Path(source.name) / source.gguf_file).stat().st_mtime_ns
        return Source(name=str(recall_unpacked(source, changed_ns)))
    except (OSError, SafetensorError):  # a home that cannot be written, or a full disk
        return source


@lru_cache(maxsize=16)
def recall_unpacked(source: Source, changed_ns: int) -> Path:
    """The folder of that file's model; made when there is none, by one process at a time, and
    never half."""
    file = Path(source.name) / str(source.gguf_file)
    folder = find_cache_folder() / "unpacked" / f"{hash_file(file)[:16]}-{version('transformers')}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not folder.is_dir():
            print(f"unpacking {file}, once: {folder}", file=sys.stderr, flush=True)
            make_folder(source, folder)
    return folder


def make_folder(source: Source, folder: Path) -> None:
    """In 32 bits, which hold every value of such a file."""
    part = Path(f"{folder}.part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        how: dict[str, Any] = {"dtype": torch.float32, "output_loading_info": True}
        kind: Any = AutoModelForCausalLM
        with explained(source.name):
            model, found = kind.from_pretrained(source.name, **source.arguments, **how)
        check_loaded(model, found, source.name)
        drop_quantiser(model)
        model.save_pretrained(part)
        with suppress(ValueError, TypeError, AttributeError, KeyError):  # whoever needs it is told
            AutoTokenizer.from_pretrained(source.name, **source.arguments).save_pretrained(part)
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def open_tokenizer(source: Source, **options: Any) -> PreTrainedTokenizerBase:
    """One that lies beside a GGUF file goes before what transformers makes of the file's
    vocabulary, which cuts texts in its own way. Raises ConfigError where that way is wrong."""
    is_beside = (Path(source.name) / "tokenizer.json").is_file()
    found = Source(name=source.name) if is_beside else unpack(source)
    tokenizer: PreTrainedTokenizerBase
    tokenizer = AutoTokenizer.from_pretrained(found.name, **options, **found.arguments)
    if source.gguf_file is not None and not is_beside:
        check_words(tokenizer, source.name)
    return tokenizer


def check_words(tokenizer: PreTrainedTokenizerBase, name: str) -> None:
    """transformers 5.17 writes Gemma's texts letter by letter."""
    if (word := next(find_cut_words(tokenizer), None)) is not None:
        raise ConfigError(
            f"transformers {version('transformers')} reads the vocabulary of {name!r} wrongly: it "
            f"cuts {word!r}, which is one token there. Install another version, or put the model's "
            "tokenizer.json and tokenizer_config.json beside the file (",
            *(Setting("base_model"), ")"),
        )


def find_cut_words(tokenizer: PreTrainedTokenizerBase) -> Iterator[str]:
    """Common words that the vocabulary holds whole, and that are yet written in pieces."""
    vocabulary = tokenizer.get_vocab()
    for word in COMMON:
        whole = {vocabulary[mark + word] for mark in SPACES if mark + word in vocabulary}
        ids = tokenizer(f"a {word}", add_special_tokens=False)["input_ids"]
        if whole and ids[-1] not in whole:
            yield word
