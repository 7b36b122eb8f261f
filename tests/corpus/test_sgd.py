"""Schema-Guided Dialogue in its own layout, and as the hub's Parquet files have it."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from made_sgd import ARCHIVE, make_dialogue, write_sgd
from pyarrow import parquet

from trainable.corpus.load import load_corpus
from trainable.corpus.sgd import delexicalise
from trainable.trial import ConfigError


def write_parquet(folder: Path) -> None:
    """As `datasets` converts its loading script: structs of lists, class labels, value lists."""
    for split in ("train", "validation", "test"):
        rows = [convert(make_dialogue(n)) for n in range(2)]
        (folder / split).mkdir(parents=True)
        parquet.write_table(pa.Table.from_pylist(rows), folder / split / "0000.parquet")


def convert(row: dict[str, Any]) -> dict[str, Any]:
    for turn in row["turns"]:
        turn["speaker"] = int(turn["speaker"] == "SYSTEM")
        for frame in turn["frames"]:
            values = frame.get("state", {}).get("slot_values", {})
            columns = {"slot_name": list(values), "slot_value_list": [*values.values()]}
            frame["state"] = {"slot_values": columns}
            for act in frame["actions"]:
                act["act"] = {"INFORM_COUNT": 5}[act["act"]]
            acts = ("act", "slot", "values", "canonical_values")
            frame["actions"] = turn_to_columns(frame["actions"], acts)
            frame["slots"] = turn_to_columns(frame["slots"], ("slot", "start", "exclusive_end"))
        frames = ("service", "state", "actions", "slots")
        turn["frames"] = turn_to_columns(turn["frames"], frames)
    return {**row, "turns": turn_to_columns(row["turns"], ("speaker", "utterance", "frames"))}


def turn_to_columns(rows: list[dict[str, Any]], names: tuple[str, ...]) -> dict[str, list[Any]]:
    return {name: [row[name] for row in rows] for name in names}


@pytest.mark.parametrize("write", [write_sgd, write_parquet])
def test_spans_states_and_acts_are_read(own_cache: Path, tmp_path: Path, write: Any) -> None:
    write(tmp_path / "sgd")
    corpus = load_corpus(str(tmp_path / "sgd"))
    assert corpus.kind == "sgd" and {len(ds) for ds in corpus.splits.values()} == {2}
    dialogue = corpus.splits["validation"][1]
    (turn,) = dialogue.turns
    assert turn.response == "Hotel 1 is in Rome, one of 7."
    assert turn.delexicalised == "[hotels_hotel_name] is in Rome, one of [hotels_count]."
    assert turn.state == {"hotels": {"city": "Rome"}} and not dialogue.goal
    assert turn.acts == "hotels inform count [hotels_count]"


def test_of_overlapping_spans_the_first_counts() -> None:
    slots = [
        {"slot": "name", "start": 0, "exclusive_end": 9},
        {"slot": "city", "start": 6, "exclusive_end": 9},
    ]
    frames = [{"service": "Hotels_1", "slots": slots, "actions": []}]
    assert delexicalise("Hotel Ulm?", frames) == "[hotels_name]?"


def test_a_missing_file_or_field_is_named(own_cache: Path, tmp_path: Path) -> None:
    write_sgd(tmp_path)
    path = tmp_path / "dev" / "dialogues_001.json"
    rows = json.loads(path.read_text())
    del rows[0]["turns"][1]["utterance"]
    path.write_text(json.dumps(rows))
    with pytest.raises(ConfigError, match="must have SGD's published fields"):
        load_corpus(str(tmp_path))
    path.unlink()
    with pytest.raises(ConfigError, match=r"needs .*dev/dialogues_001\.json"):
        load_corpus(str(tmp_path))


def test_the_published_dialogues(own_cache: Path, tmp_path: Path) -> None:
    if not ARCHIVE.is_file():
        pytest.skip("../shared/sgd.tar.xz is not there")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    corpus = load_corpus(str(tmp_path / "sgd"))
    assert {split: len(ds) for split, ds in corpus.splits.items()} == {
        "train": 3069,
        "validation": 512,
        "test": 512,
    }
    turn = corpus.splits["train"][0].turns[2]
    assert "at [restaurants_restaurant_name] there is" in turn.delexicalised
    assert turn.state == {"restaurants": {"city": "San Jose", "cuisine": "American"}}
