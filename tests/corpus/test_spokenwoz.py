"""SpokenWOZ's layout, on made files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from trainable.corpus.load import load_corpus
from trainable.corpus.spokenwoz import build_dialogue
from trainable.trial import ConfigError

SAID = "the acorn guest house is in the north"


def make_entry() -> dict[str, Any]:
    told = {"semi": {"area": "north", "name": "not mentioned", "type": "dont care"}}
    told["book"] = {"booked": []}
    own = {"semi": {"name": "jane", "email": ""}, "book": {"booked": []}}
    spans = [
        ["hotel-inform", "name", "acorn guest house", 4, 21],
        ["hotel-inform", "area", "north", 0, 5],  # does not cover its value
        ["profile-inform", "idnumber", "7", 0, 1],
    ]
    acts = {"hotel-inform": [["name", "acorn guest house"], ["area", "north"]]}
    words = [{"Word": "the", "BeginTime": 0, "EndTime": 9, "ChannelId": 1, "WordIndex": 0}]
    return {
        "goal": {"hotel": {"info": {"area": "north"}, "reqt": ["phone"]}, "profile": {}},
        "log": [
            {"tag": "user", "text": "a hotel up north please", "words": words, "metadata": {}},
            {
                **{"tag": "system", "text": SAID, "span_info": spans, "words": words},
                "metadata": {"hotel": told, "profile": own},
                "dialog_act": acts,
            },
        ],
    }


def write_spokenwoz(folder: Path, databases: Path) -> None:
    train, test = folder / "text_5700_train_dev", folder / "text_5700_test"
    train.mkdir(parents=True)
    test.mkdir()
    known = {f"MUL000{n}": make_entry() for n in range(3)}
    (train / "data.json").write_text(json.dumps(known))
    (train / "valListFile.json").write_text("MUL0001\n")
    (test / "data.json").write_text(json.dumps({"SNG0009": make_entry()}))
    shutil.copytree(databases, train / "db")


def test_transcripts_goals_states_and_spans_are_read(
    small_folder: Path, own_cache: Path, tmp_path: Path
) -> None:
    write_spokenwoz(tmp_path / "spoken", small_folder / "db")
    corpus = load_corpus(str(tmp_path / "spoken"))
    assert {split: [d.id for d in ds] for split, ds in corpus.splits.items()} == {
        "train": ["mul0000", "mul0002"],
        "validation": ["mul0001"],
        "test": ["sng0009"],
    }
    dialogue = corpus.splits["train"][0]
    (turn,) = dialogue.turns
    assert turn.delexicalised == "the [name] is in the north"
    assert turn.acts == "hotel inform [name] area"
    assert turn.state == {"hotel": {"area": "north"}, "profile": {"name": "jane"}}
    assert dialogue.goal["hotel"]["informable"] == {"area": "north"}
    assert corpus.kind == "multiwoz" and corpus.database.query("restaurant", {"food": "indian"})
    assert "8 spans" in corpus.notes[1] and "audio" in corpus.notes[0]


def test_what_lacks_is_named(small_folder: Path, own_cache: Path, tmp_path: Path) -> None:
    write_spokenwoz(tmp_path / "spoken", small_folder / "db")
    (tmp_path / "spoken/text_5700_train_dev/valListFile.json").unlink()
    with pytest.raises(ConfigError, match=r"needs .*valListFile\.json: put it there"):
        load_corpus(str(tmp_path / "spoken"))


def test_slots_of_its_ontology_become_placeholders() -> None:
    entry = make_entry()
    turn = entry["log"][1]
    turn["text"] = "it is 12 mill road cb12ab for 2 pounds"
    turn["span_info"] = [
        ["hotel-inform", "adress", "12 mill road", 6, 18],
        ["hotel-inform", "post", "cb12ab", 19, 25],
        ["train-inform", "ticket", "2 pounds", 30, 38],
    ]
    turn["dialog_act"] = {"hotel-inform": [["adress", "12 mill road"], ["post", "cb12ab"]]}
    (read,) = build_dialogue("MUL1", entry, unplaced := []).turns
    assert read.delexicalised == "it is [address] [postcode] for [price]" and not unplaced
    assert read.acts == "hotel inform [address] [postcode]"
