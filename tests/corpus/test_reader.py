"""The reader of MultiWOZ 2.2's layout and what it keeps."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from trainable.corpus.corpus import RECENT, Corpus
from trainable.corpus.load import load_corpus
from trainable.dialogue.dialogue import Turn
from trainable.trial import ConfigError


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_a_dialogue_as_published_becomes_frozen_turns(small_folder: Path, own_cache: Path) -> None:
    corpus = load_corpus(str(small_folder))
    assert {split: [d.id for d in ds] for split, ds in corpus.splits.items()} == {
        "train": ["sng01", "sng02"],
        "validation": ["sng03"],
        "test": ["sng04", "pmul05"],
    }
    dialogue = corpus.splits["test"][1]
    assert dialogue.turns == (
        Turn(
            user="I want italian food, anywhere.",
            response="How about Da Nino? Call 01223 1.",
            delexicalised="How about [name]? Call [phone].",
            state={"restaurant": {"food": "italian"}},  # what is not cared for is left out
            booked=(),
            acts="restaurant inform [phone] [name] postcode ; booking request time ; "
            "general reqmore",
        ),
        Turn(
            user="Book it.",
            response="Done, it is ABC123.",
            delexicalised="Done, it is [ref].",
            state={"restaurant": {"food": "italian", "bookpeople": "2"}},
            booked=("restaurant",),
        ),
    )
    assert dialogue.domains == ("restaurant",)
    assert corpus.database.query("restaurant", {"food": "italian"}) == ("1", "3")


def test_bookings_that_the_files_do_not_note_are_inferred(
    small_folder: Path, own_cache: Path
) -> None:
    path = small_folder / "booked_domains.json"
    noted = json.loads(path.read_text())
    del noted["pmul05"]
    path.write_text(json.dumps(noted))
    turns = load_corpus(str(small_folder)).splits["test"][1].turns
    assert [turn.booked for turn in turns] == [(), ("restaurant",)]


def test_a_last_user_turn_without_an_answer_is_left_out(
    small_folder: Path, own_cache: Path
) -> None:
    path = small_folder / "dev" / "dialogues_001.json"
    dialogues = json.loads(path.read_text())
    dialogues[0]["turns"].pop()
    path.write_text(json.dumps(dialogues))
    assert len(load_corpus(str(small_folder)).splits["validation"][0].turns) == 1


@pytest.mark.parametrize(
    "name",
    [
        "dialog_acts.json",
        "train/dialogues_001.json",
        "test/dialogues_001.json",
        "goals.json",
        "booked_domains.json",
        "db/train_db.json",
    ],
)
def test_a_missing_file_is_named(small_folder: Path, own_cache: Path, name: str) -> None:
    (small_folder / name).unlink()
    with pytest.raises(ConfigError, match=Path(name).stem) as caught:
        load_corpus(str(small_folder))
    assert "\n" not in str(caught.value)
    assert not list(own_cache.rglob("*.gz"))


def test_a_gap_among_the_dialogue_files_is_named(small_folder: Path, own_cache: Path) -> None:
    shutil.copy(
        small_folder / "train/dialogues_001.json", small_folder / "train/dialogues_003.json"
    )
    with pytest.raises(ConfigError, match="dialogues_002"):
        load_corpus(str(small_folder))


def test_a_missing_last_file_shows_in_the_acts(small_folder: Path, own_cache: Path) -> None:
    path = small_folder / "dialog_acts.json"
    acts = json.loads(path.read_text())
    path.write_text(json.dumps({**acts, **{f"SNG1{n:03}.json": {} for n in range(50)}}))
    with pytest.raises(ConfigError, match=r"50 dialogues more .*SNG1000"):
        load_corpus(str(small_folder))


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("dialog_acts.json", '"phone"', '"mascot"', "slot 'mascot' of SNG01.json"),
        ("dialog_acts.json", "24, 31]", '24, "31"]', "a span must be"),
        ("dialog_acts.json", "SNG04.json", "SNG99.json", "SNG04.json has no entry"),
        ("dialog_acts.json", '"3":', '"5":', "nothing for SNG01.json, turn 3"),
        ("test/dialogues_001.json", "SYSTEM", "USER", "USER and SYSTEM must take turns"),
        ("test/dialogues_001.json", "SNG04", "SNG01", "ids must be unique"),
        ("test/dialogues_001.json", '"utterance"', '"uterance"', "dialogue SNG04.json must have"),
        ("test/dialogues_001.json", '"dialogue_id"', '"id"', "dialogues of .* must have"),
        ("db/hotel_db.json", '"id"', '"identity"', "hotel needs its id"),
        ("goals.json", '"sng01": {', '"sng01": {"x"', "must be whole JSON"),
    ],
)
def test_files_that_do_not_fit_are_refused_in_one_line(
    small_folder: Path, own_cache: Path, name: str, old: str, new: str, message: str
) -> None:
    edit(small_folder / name, old, new)
    with pytest.raises(ConfigError, match=message) as caught:
        load_corpus(str(small_folder))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["dialog_acts.json", "dev/dialogues_001.json", "db/hotel_db.json"])
def test_a_cut_file_is_refused(small_folder: Path, own_cache: Path, name: str) -> None:
    path = small_folder / name
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ConfigError, match=path.stem):
        load_corpus(str(small_folder))
    assert not list(own_cache.rglob("*.gz"))


def test_the_second_load_reads_the_cache_and_gives_the_same(
    small_folder: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = load_corpus(str(small_folder))
    monkeypatch.setattr("trainable.corpus.multiwoz.read_folder", None)  # would fail if called
    assert load_corpus(str(small_folder)) is first  # in one process: a plan asks again and again
    RECENT.clear()
    second = load_corpus(str(small_folder))
    assert (second.splits, second.fingerprint) == (first.splits, first.fingerprint)


def test_a_changed_file_is_read_anew(small_folder: Path, own_cache: Path) -> None:
    first = load_corpus(str(small_folder))
    edit(small_folder / "test/dialogues_001.json", "Book it.", "Book it!")
    second = load_corpus(str(small_folder))
    assert second.fingerprint != first.fingerprint
    assert second.splits["test"][0].turns[1].user == "Book it!"


def test_a_broken_cache_file_is_built_anew(small_folder: Path, own_cache: Path) -> None:
    first = load_corpus(str(small_folder))
    for kept in own_cache.rglob("*.gz"):
        kept.write_bytes(kept.read_bytes()[:-30])
    RECENT.clear()
    assert load_corpus(str(small_folder)).splits == first.splits


def test_a_checkout_of_the_official_repository_is_read_too(
    small_folder: Path, own_cache: Path, tmp_path: Path
) -> None:
    plain = load_corpus(str(small_folder))
    checkout = tmp_path / "checkout"
    inner = checkout / "data" / "MultiWOZ_2.2"
    shutil.copytree(small_folder, inner)
    for name in ("db", "goals.json", "booked_domains.json"):
        (inner / name).rename(checkout / name)
    assert load_corpus(str(checkout)).splits == plain.splits


def test_names_that_are_no_corpus(tmp_path: Path, own_cache: Path) -> None:
    with pytest.raises(ConfigError, match="must be a folder that exists"):
        load_corpus(str(tmp_path / "none"))
    with pytest.raises(ConfigError) as caught:
        load_corpus(str(tmp_path))
    missing = ("dialog_acts.json", "test/dialogues_001.json", "goals.json", "booked_domains.json")
    assert all(name in str(caught.value) for name in (*missing, "db/train_db.json"))
    assert "\n" not in str(caught.value)


def test_a_split_that_is_not_there(small_folder: Path, own_cache: Path) -> None:
    corpus = load_corpus(str(small_folder))
    with pytest.raises(ConfigError, match="--split must be one of train, validation, test"):
        corpus.get_split("dev")


def test_real_multiwoz_is_whole(multiwoz: Corpus) -> None:
    sizes: dict[str, Any] = {
        split: (len(dialogues), sum(len(d.turns) for d in dialogues))
        for split, dialogues in multiwoz.splits.items()
    }
    assert sizes == {"train": (8437, 56776), "validation": (1000, 7374), "test": (1000, 7372)}
    assert len(multiwoz.database.query("train", {})) == 2828


def test_spans_beside_their_values_are_moved_and_counted(
    small_folder: Path, own_cache: Path
) -> None:
    edit(small_folder / "dialog_acts.json", '"Da Nino", 10, 17', '"Da Nino", 9, 16')
    for _ in range(2):  # parsed, and from the cache
        RECENT.clear()
        corpus = load_corpus(str(small_folder))
        assert corpus.moved_spans == 5
        assert corpus.splits["test"][0].turns[0].delexicalised == "How about [name]? Call [phone]."


def test_goals_and_bookings_may_be_named_as_dialogues_are(
    small_folder: Path, own_cache: Path
) -> None:
    before = load_corpus(str(small_folder)).splits
    for name in ("goals.json", "booked_domains.json"):
        path = small_folder / name
        content = json.loads(path.read_text())
        path.write_text(json.dumps({f"{key.upper()}.json": own for key, own in content.items()}))
    assert load_corpus(str(small_folder)).splits == before
