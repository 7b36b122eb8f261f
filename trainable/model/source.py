"""Where a base model's files are, and what to say when they cannot be read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trainable.model.loaded import check_heads
from trainable.system.environment import trusts_remote_code
from trainable.system.hub import settle_network
from trainable.system.json_object import read_object
from trainable.trial import ConfigError, Missing, Setting

EMBEDDED = "tiny"
# no layers that an adapter of ours takes
OUTSIDE = re.compile(r"(^|\.)(\w*embed\w*|lm_head|wte|wpe|shared)(\.|$)")
INDEX = "model.safetensors.index.json"
EMBEDDED_FOLDER = Path(__file__).parent / "tiny_weights"


EXPORTED_GGUF = "model-f16.gguf"  # as tune.export --gguf calls the most exact of its files


@dataclass(frozen=True, kw_only=True)
class Source:
    """What transformers' `from_pretrained` takes: a folder or hub id, and a GGUF file in it."""

    name: str
    gguf_file: str | None = None

    @property
    def arguments(self) -> dict[str, Any]:
        return {} if self.gguf_file is None else {"gguf_file": self.gguf_file}


def locate(base_model: str) -> Source:
    """The embedded model, an existing folder (a checkpoint, or exactly one .gguf file), or else
    a hub id, unread. Raises ConfigError on a folder that holds no model."""
    if base_model == EMBEDDED:
        return Source(name=str(EMBEDDED_FOLDER))
    folder = Path(base_model).expanduser()
    if folder.is_dir():
        return locate_in_folder(folder)
    if folder.is_file() or base_model.startswith(("/", ".", "~")) or base_model.count("/") > 1:
        raise Missing(
            f"base_model must be an existing folder, a hub id or {EMBEDDED!r}, and {base_model!r} "
            "is no folder: correct ",
            Setting("base_model", "FOLDER"),
        )
    return Source(name=base_model)


def locate_in_folder(folder: Path) -> Source:
    gguf_files = sorted(folder.glob("*.gguf"))
    if folder / EXPORTED_GGUF in gguf_files:  # others are the same model, rounded further
        gguf_files = [folder / EXPORTED_GGUF]
    if (folder / "config.json").is_file():
        return Source(name=str(folder))
    if len(gguf_files) == 1:
        return Source(name=str(folder), gguf_file=gguf_files[0].name)
    raise Missing(
        f"a base model's folder must hold config.json or exactly one .gguf file, and "
        f"{str(folder)!r} holds no config.json and {len(gguf_files)} .gguf files: "
        "correct ",
        Setting("base_model", "FOLDER"),
    )


def check_base(base_model: str) -> None:
    """Raises ConfigError where it is plain, without loading a weight, that the model is not there
    or has no tokenizer. A hub id's configuration is fetched (and cached)."""
    source = locate(base_model)
    if source.gguf_file is not None or base_model == EMBEDDED:
        return
    with explained(base_model):
        if Path(source.name).is_dir():
            path = Path(source.name) / "config.json"
            check_tokenizer_files(Path(source.name))
        else:
            from huggingface_hub import hf_hub_download

            settle_network()
            path = Path(hf_hub_download(source.name, "config.json"))
        shape = read_object(path)
        check_heads(shape, base_model)
        if needs_code(shape):
            raise ValueError("it runs custom code")


def needs_code(config: Mapping[str, Any]) -> bool:
    """Whether a model is none of transformers' own kinds, and its code is not trusted."""
    if "auto_map" not in config or trusts_remote_code():
        return False
    from transformers import CONFIG_MAPPING

    return config.get("model_type") not in CONFIG_MAPPING


def fetch_base(base_model: str) -> None:
    """Brings a hub id's files into the cache, with the hub's own bars, so that the workers find
    them there. Raises ConfigError."""
    source = locate(base_model)
    if base_model == EMBEDDED or Path(source.name).is_dir() or is_cached(source.name):
        return
    from huggingface_hub import list_repo_files, snapshot_download

    settle_network()
    with explained(base_model):
        names = [n for n in list_repo_files(source.name) if "/" not in n]
        is_safe = any(n.endswith(".safetensors") for n in names)
        kinds = (".json", ".txt", ".model", ".py", ".safetensors" if is_safe else ".bin")
        snapshot_download(source.name, allow_patterns=[n for n in names if n.endswith(kinds)])


def is_cached(hub_id: str) -> bool:
    """Whether all of its weights are."""
    return bool(find_cached(hub_id))


def read_layer_paths(base_model: str) -> tuple[str, ...] | None:
    """Paths of the model's matrices but embeddings and output layer, read from the headers of its
    weights' files; None where those are not here, or not in safetensors."""
    shapes = open_headers(base_model, list_weight_files(base_model))
    names = [n for n, shape in shapes.items() if n.endswith(".weight") and len(shape) == 2]
    return tuple(n.removesuffix(".weight") for n in names if not OUTSIDE.search(n)) or None


def list_weight_files(base_model: str) -> list[Path]:
    """Those in safetensors that are here."""
    source = locate(base_model)
    folder = Path(source.name)
    return sorted(folder.glob("*.safetensors")) if folder.is_dir() else find_cached(source.name)


def list_files(base_model: str) -> list[Path]:
    """All that are here; none of a hub id whose weights are not."""
    folder = Path(locate(base_model).name)
    if not folder.is_dir():
        cached = find_cached(base_model)
        return sorted(cached[0].parent.iterdir()) if cached else []
    return sorted(folder.iterdir())


def list_other_files(base_model: str) -> list[Path]:
    """Those of a folder that has none in safetensors: a GGUF file, or pickles."""
    source = locate(base_model)
    names = source.gguf_file or "pytorch_model*.bin"
    return sorted(Path(source.name).glob(names)) if Path(source.name).is_dir() else []


def open_headers(base_model: str, files: Iterable[Path]) -> dict[str, tuple[int, ...]]:
    """Name -> shape of every tensor in those files. Raises ConfigError where one is broken."""
    from safetensors import safe_open

    shapes: dict[str, tuple[int, ...]] = {}
    for path in files:
        with explained(base_model), safe_open(path, framework="np") as weights:
            for name in weights.keys():  # noqa: SIM118
                shapes[name] = tuple(weights.get_slice(name).get_shape())
    return shapes


def find_cached(hub_id: str) -> list[Path]:
    """Its weights' files in the cache, one or several; empty where one of them is missing."""
    from huggingface_hub import try_to_load_from_cache

    names, index = ["model.safetensors"], try_to_load_from_cache(hub_id, INDEX)
    if isinstance(index, str):
        shards = json.loads(Path(index).read_text(encoding="utf-8"))["weight_map"].values()
        names = sorted(set(shards))
    paths = [try_to_load_from_cache(hub_id, name) for name in names]
    here = [Path(path) for path in paths if isinstance(path, str)]
    return here if len(here) == len(names) else []


def check_tokenizer_files(folder: Path) -> None:
    known = ("tokenizer.json", "tokenizer.model", "vocab.json", "spiece.model", "vocab.txt")
    if not any((folder / name).is_file() for name in known):
        raise Missing(
            f"a base model needs a tokenizer, and {str(folder)!r} holds none of "
            f"{', '.join(known)}: save it there with tokenizer.save_pretrained (",
            *(Setting("base_model"), ")"),
        )


@contextmanager
def explained(base_model: str) -> Iterator[None]:
    """Turns what transformers and the hub raise into a ConfigError: Missing where files are not
    there, cannot be read or are broken."""
    from huggingface_hub.errors import HFValidationError
    from safetensors import SafetensorError

    try:
        yield
    except ConfigError:
        raise
    except (OSError, ImportError, SafetensorError) as error:
        raise Missing(*explain(base_model, error)) from error
    except (ValueError, HFValidationError) as error:
        raise ConfigError(*explain(base_model, error)) from error


def explain(base_model: str, error: BaseException) -> tuple[str | Setting, ...]:
    """What is wrong with the base model and what to do about it: the parts of a ConfigError."""
    causes = list(walk_causes(error))
    names = {type(cause).__name__ for cause in causes}
    text = " ".join(str(cause) for cause in causes)
    cannot = f"base_model={base_model!r} cannot be loaded: "
    if "GatedRepoError" in names or "access a gated repo" in text:
        return (cannot, "its licence is gated; accept it on its hub page and run `hf auth login`")
    if "custom code" in text or "trust_remote_code" in text:
        return (cannot, "it runs code from its repository; allow that with --trust-remote-code")
    if "RepositoryNotFoundError" in names or "not a valid model identifier" in text:
        what = "the hub knows no such model (or it is private); correct "
        return (cannot, what, Setting("base_model"))
    if "LocalEntryNotFoundError" in names or "couldn't connect" in text:
        what = "the hub cannot be reached, or HF_HUB_OFFLINE is set, and it is not in the cache"
        return (cannot, what, "; download it first or name a folder")
    if "Unrecognized configuration class" in text:
        what = "transformers has no decoder of its kind; give a language model (of several"
        return (
            cannot,
            what,
            " modalities the text part, saved by itself): ",
            Setting("base_model"),
        )
    if "gguf" in text.lower() and isinstance(error, ImportError):
        return (cannot, "a GGUF file needs the package gguf; run `pip install gguf`")
    told = (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
    return (cannot, f"{told} (", Setting("base_model"), ")")


def walk_causes(error: BaseException) -> Iterator[BaseException]:
    """The error, what it came of, what that came of, and so on."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__
