"""A corpus in MultiWOZ 2.2's layout with other replies in its training dialogues."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trainable.corpus.files import read_json
from trainable.corpus.goals import shorten_id
from trainable.corpus.layout import recognise
from trainable.corpus.multiwoz import CorpusFiles, find_files
from trainable.system.whole import write_json
from trainable.trial import ConfigError, Setting

TOLD = "replies.json"  # how they came about


def find_source(name: str) -> Path:
    """The folder of a corpus in that layout. Raises ConfigError where it has another."""
    if name == "cambridge":
        from trainable.corpus.embedded import generate_folder

        return generate_folder()
    if name == "multiwoz":
        from trainable.corpus.download import download_multiwoz

        return download_multiwoz()
    place = Path(name).expanduser()
    if not place.is_dir() or recognise(place) != "multiwoz":
        raise ConfigError(
            f"only a corpus in MultiWOZ 2.2's layout can be written anew, and {name} is none: "
            "give one with ",
            Setting("corpus", "FOLDER"),
        )
    return place


def rewrite(
    source: Path, replies: Mapping[tuple[str, int], str], told: Mapping[str, Any], out: Path
) -> None:
    """Writes the corpus of `source` into `out`, with the delexicalised replies (dialogue, system
    turn) in the place of its own in train; the folder appears whole. `told` goes along."""
    files = find_files(source)
    beside = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        copy_files(files, source, beside)
        put_replies(files, replies, beside)
        write_json(beside / TOLD, told)
        os.replace(beside, out)
    except OSError as error:
        raise ConfigError(f"--out must be a folder that can be written: {error}") from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def copy_files(files: CorpusFiles, source: Path, out: Path) -> None:
    inner = files.acts.parent
    for path in files:
        own = out / path.relative_to(inner if path.is_relative_to(inner) else source)
        own.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, own)


def put_replies(files: CorpusFiles, replies: Mapping[tuple[str, int], str], out: Path) -> None:
    """A reply with placeholders is its own delexicalisation: it has no spans. What it does is not
    known: the acts are of the reply that it replaces."""
    acts = read_json(files.acts)
    for path in files.dialogues["train"]:
        dialogues = read_json(path)
        for dialogue in dialogues:
            name = dialogue["dialogue_id"]
            for number, turn in enumerate(dialogue["turns"][1::2]):
                if (text := replies.get((shorten_id(name), number))) is not None:
                    turn["utterance"] = text
                    acts[name][turn["turn_id"]] = {"dialog_act": {}, "span_info": []}
        write_json(out / path.relative_to(files.acts.parent), dialogues)
    write_json(out / files.acts.name, acts)
