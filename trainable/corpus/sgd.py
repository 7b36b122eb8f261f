"""Schema-Guided Dialogue in its published layout: train/, dev/, test/ with dialogues_NNN.json and a
schema.json each (github.com/google-research-datasets/dstc8-schema-guided-dialogue), or its Parquet
conversion on the hub.

A placeholder is called by service and slot, without the service's number: [restaurants_city]. It
stands for a span of the annotation; the values of acts that have no span (counts, categories)
become one where they stand in the utterance. There are neither goals nor a database.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from trainable.corpus.acts import ASKED, Act, spell_acts
from trainable.corpus.files import expect_fields, pair_turns, read_json
from trainable.corpus.tables import list_structs
from trainable.dialogue.dialogue import Dialogue, Requests, State, Turn
from trainable.trial import ConfigError

SPLITS = {"train": "train", "validation": "dev", "test": "test"}  # ours -> the folder's name
SCHEMA = "schema.json"
Span = tuple[int, int, str]  # start, end, placeholder
# classes of acts, in Parquet files: numbered as the hub's loading script sorts them
ACTS = dict(
    enumerate(
        (
            *("AFFIRM", "AFFIRM_INTENT", "CONFIRM", "GOODBYE", "INFORM", "INFORM_COUNT"),
            *("INFORM_INTENT", "NEGATE", "NEGATE_INTENT", "NOTIFY_FAILURE", "NOTIFY_SUCCESS"),
            *("OFFER", "OFFER_INTENT", "REQUEST", "REQUEST_ALTS", "REQ_MORE", "SELECT"),
            "THANK_YOU",
        )
    )
)
# columns of a state's slots there, by version: names, and each one's values
STATE_COLUMNS = (("slot_name", "slot_value_list"), ("slot", "value_list"))


def find_files(folder: Path) -> dict[str, list[Path]]:
    """Each split's dialogues. Raises ConfigError where a split has none."""
    files = {
        split: sorted((folder / name).glob("dialogues_*.json")) for split, name in SPLITS.items()
    }
    for split, paths in files.items():
        if not paths:
            raise ConfigError(
                f"a corpus in SGD's layout needs {folder / SPLITS[split]}/dialogues_001.json: put "
                "it there"
            )
    return files


def read_splits(files: Mapping[str, Sequence[Path]]) -> dict[str, tuple[Dialogue, ...]]:
    """All dialogues. Raises ConfigError where a file is not what it should be."""
    return {
        split: build_dialogues(chain.from_iterable(map(read_json, paths)), split)
        for split, paths in files.items()
    }


def build_dialogues(rows: Iterable[Mapping[str, Any]], split: str) -> tuple[Dialogue, ...]:
    """Those that have turns. Raises ConfigError where a field is missing."""
    found = []
    for row in rows:
        with expect_fields(f"a dialogue of split {split}", "SGD"):
            name = str(row["dialogue_id"])
            turns = tuple(_list_turns(name, list_structs(row["turns"])))
            # dialogues are numbered anew in each split
            found.append(Dialogue(id=f"{split}_{name}", turns=turns, goal={}))
    return tuple(d for d in found if d.turns)


def _list_turns(name: str, turns: Sequence[Mapping[str, Any]]) -> Iterator[Turn]:
    for asked, answered in pair_turns(name, turns):
        response = answered["utterance"]
        frames = list_structs(answered["frames"])
        delexicalised = delexicalise(response, frames)
        yield Turn(
            user=asked["utterance"],
            response=response,
            delexicalised=delexicalised,
            state=read_state(list_structs(asked["frames"])),
            booked=(),
            requested=read_requests(list_structs(asked["frames"])),
            acts=spell_acts(list_acts(frames), delexicalised),
        )


def delexicalise(utterance: str, frames: Iterable[Mapping[str, Any]]) -> str:
    """The utterance with what frames annotate as placeholders; the first of two that overlap, and
    spans before values of acts.

    >>> slots = [{"slot": "city", "start": 3, "exclusive_end": 7}]
    >>> acts = [{"act": "INFORM_COUNT", "slot": "count", "values": ["2"]}]
    >>> delexicalise("In Rome: 2.", [{"service": "Hotels_1", "slots": slots, "actions": acts}])
    'In [hotels_city]: [hotels_count].'
    """
    frames = list(frames)
    taken: list[Span] = []
    for span in chain(_list_spans(frames, utterance), _find_values(frames, utterance)):
        if all(span[1] <= start or end <= span[0] for start, end, _ in taken):
            taken.append(span)
    for start, end, placeholder in sorted(taken, reverse=True):
        utterance = f"{utterance[:start]}[{placeholder}]{utterance[end:]}"
    return utterance


def _list_spans(frames: Iterable[Mapping[str, Any]], utterance: str) -> Iterator[Span]:
    for frame in frames:
        for slot in list_structs(frame.get("slots") or []):
            start, end = slot["start"], slot["exclusive_end"]
            if 0 <= start < end <= len(utterance):
                yield start, end, name_placeholder(frame["service"], slot["slot"])


def _find_values(frames: Iterable[Mapping[str, Any]], utterance: str) -> Iterator[Span]:
    """Values of acts as whole words."""
    for frame in frames:
        for act in list_structs(frame.get("actions") or []):
            if not act.get("slot") or act["slot"] == "intent":
                continue
            for value in act.get("values") or []:
                pattern = rf"(?<!\w){re.escape(str(value))}(?!\w)"
                for found in re.finditer(pattern, utterance, re.IGNORECASE) if value else ():
                    yield *found.span(), name_placeholder(frame["service"], act["slot"])


def list_acts(frames: Iterable[Mapping[str, Any]]) -> list[Act]:
    """What frames annotate, each act with all of its slots, which are called as placeholders are.

    >>> acts = [{"act": "OFFER", "slot": "city", "values": ["Ulm"]}, {"act": 13, "slot": "date"}]
    >>> list_acts([{"service": "Hotels_1", "actions": [*acts, {"act": "REQ_MORE", "slot": ""}]}])
    [('hotels offer', [('hotels_city', 'Ulm')]), ('hotels request', [('hotels_date', '?')]), \
('hotels req more', [])]
    """
    found: dict[str, list[tuple[str, str]]] = {}
    for frame in frames:
        for act in list_structs(frame.get("actions") or []):
            kind = str(ACTS.get(act["act"], act["act"])).lower().replace("_", " ")
            slots = found.setdefault(f"{name_domain(frame['service'])} {kind}", [])
            if act.get("slot"):
                value = " ".join(map(str, act.get("values") or [ASKED]))
                slots.append((name_placeholder(frame["service"], act["slot"]), value))
    return [*found.items()]


def name_placeholder(service: str, slot: str) -> str:
    """
    >>> name_placeholder("RideSharing_2", "wait_time")
    'ridesharing_wait_time'
    """
    return f"{name_domain(service)}_{slot}".lower()


def name_domain(service: str) -> str:
    """`Hotels_2` -> `hotels`"""
    return re.sub(r"_\d+$", "", service).lower()


def read_state(frames: Iterable[Mapping[str, Any]]) -> State:
    """Service without its number -> slot -> the first of the values that are equivalent; what the
    user does not care about is left out."""
    state: dict[str, dict[str, str]] = {}
    for frame in frames:
        values = read_values((frame.get("state") or {}).get("slot_values") or {})
        slots = {n: str(v[0]) for n, v in values.items() if v and "dontcare" not in v}
        if slots:
            state.setdefault(name_domain(frame["service"]), {}).update(slots)
    return state


def read_values(found: Any) -> Mapping[str, Sequence[str]]:
    """Slot -> values, as JSON has them or as columns.

    >>> read_values({"slot_name": ["city"], "slot_value_list": [["Rome", "rome"]]})
    {'city': ['Rome', 'rome']}
    """
    if isinstance(found, Mapping) and not any(name in found for name, _ in STATE_COLUMNS):
        return found
    rows = list_structs(found)
    return {row[name]: row[values] for row in rows for name, values in STATE_COLUMNS if name in row}


def read_requests(frames: Iterable[Mapping[str, Any]]) -> Requests:
    """Service without its number -> slots that the user asks to be told."""
    asked: dict[str, set[str]] = {}
    for frame in frames:
        if slots := (frame.get("state") or {}).get("requested_slots"):
            asked.setdefault(name_domain(frame["service"]), set()).update(map(str, slots))
    return {domain: sorted(slots) for domain, slots in sorted(asked.items())}
