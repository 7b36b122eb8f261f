"""SpokenWOZ in its published layout: text_5700_train_dev/ and text_5700_test/, each with a
data.json (goal and log, as MultiWOZ 2.1's), the first with valListFile.json and db/.

What is read are the transcripts (`text`); audio, words' times and the recogniser's alternatives are
not. Goals and states know MultiWOZ's slots; those of its own domain, profile (name, email, id and
plate numbers), stand in states alone: the evaluation has no requests and no database for them.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from trainable.corpus.acts import list_acts, list_spellings, spell_acts
from trainable.corpus.delexicalise import delexicalise
from trainable.corpus.files import expect_fields, pair_turns, read_json
from trainable.corpus.goals import derive_booked, derive_goal, shorten_id
from trainable.dialogue.database import DONTCARE
from trainable.dialogue.dialogue import Dialogue, State, Turn
from trainable.dialogue.slots import find_slot
from trainable.dialogue.values import normalise_slot
from trainable.trial import ConfigError

TRAIN, TEST = "text_5700_train_dev", "text_5700_test"
DATA, VALIDATION = "data.json", "valListFile.json"
UNSAID = {"", "none", "doesn't care", *DONTCARE}


def find_files(folder: Path) -> list[Path]:
    """Training and validation, the latter's list, test. Raises ConfigError where one is missing."""
    files = [folder / TRAIN / DATA, folder / TRAIN / VALIDATION, folder / TEST / DATA]
    for path in files:
        if not path.is_file():
            raise ConfigError(f"a corpus in SpokenWOZ's layout needs {path}: put it there")
    return files


def read_splits(files: list[Path]) -> tuple[dict[str, tuple[Dialogue, ...]], list[str]]:
    """All dialogues by split, and a line for what they lack."""
    known, listed, test = read_json(files[0]), files[1].read_text("utf-8").split(), files[2]
    held_out = {shorten_id(name) for name in listed}
    splits: dict[str, list[Dialogue]] = {"train": [], "validation": [], "test": []}
    unplaced: list[str] = []
    for name, entry in known.items():
        split = "validation" if shorten_id(name) in held_out else "train"
        splits[split].append(build_dialogue(name, entry, unplaced))
    splits["test"] = [build_dialogue(n, entry, unplaced) for n, entry in read_json(test).items()]
    notes = ["transcripts are read; audio, times of words and other hypotheses are not"]
    if unplaced:
        notes.append(
            f"{len(unplaced)} spans of slots that MultiWOZ has not, or that do not cover their "
            f"value, stay as they were said (first: {unplaced[0]})"
        )
    return {split: tuple(d for d in ds if d.turns) for split, ds in splits.items()}, notes


def build_dialogue(name: str, entry: Mapping[str, Any], unplaced: list[str]) -> Dialogue:
    with expect_fields(f"dialogue {name}", "SpokenWOZ"):
        return Dialogue(
            id=shorten_id(name),
            turns=tuple(_list_turns(name, entry["log"], unplaced)),
            goal=derive_goal(entry["goal"]),
        )


def _list_turns(name: str, log: list[Mapping[str, Any]], unplaced: list[str]) -> Iterator[Turn]:
    """States and bookings stand at the system's turn, as in MultiWOZ 2.1; a turn may lack a tag."""
    booked = derive_booked(log)
    tagged = [{"tag": ("user", "system")[i % 2], **turn} for i, turn in enumerate(log)]
    for number, (asked, answered) in enumerate(pair_turns(name, tagged, key="tag")):
        text, place = answered["text"], f"{name}, turn {2 * number + 1}"
        delexicalised = _delexicalise(text, answered.get("span_info") or [], place, unplaced)
        yield Turn(
            user=asked["text"],
            response=text,
            delexicalised=delexicalised,
            state=read_state(answered.get("metadata") or {}),
            booked=tuple(booked[number]),
            acts=spell_acts(list_acts(answered.get("dialog_act")), delexicalised),
        )


def _delexicalise(text: str, spans: list[list[Any]], place: str, unplaced: list[str]) -> str:
    """Transcripts spell values in their own way: what cannot be placed stays as it is."""
    kept = []
    for act, slot, value, start, end in spans:
        spellings = (str(slot), *list_spellings(str(slot).lower()))
        name, said = next(filter(None, map(find_slot, spellings)), None), str(value)
        if name and said and text[start:end].lower() == said.lower():
            kept.append([act, name, said, start, end])
        else:
            unplaced.append(place)
    return delexicalise(text, kept, place)


def read_state(metadata: Mapping[str, Any]) -> State:
    """Domain -> slot -> value, of both sections (semi and book).

    >>> read_state({"hotel": {"semi": {"area": "west", "name": ""}, "book": {"booked": [],
    ...     "people": "3"}}})
    {'hotel': {'area': 'west', 'people': '3'}}
    """
    state: dict[str, dict[str, str]] = {}
    for domain, sections in metadata.items():
        told = {**sections.get("semi", {}), **sections.get("book", {})}
        slots = {
            normalise_slot(name): str(value)
            for name, value in told.items()
            if name != "booked" and isinstance(value, str) and value.lower() not in UNSAID
        }
        if slots:
            state[domain] = slots
    return state
