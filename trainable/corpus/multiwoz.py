"""MultiWOZ 2.2's published files as frozen dialogues.

The layout of github.com/budzianowski/multiwoz: train/, dev/, test/ with dialogues_NNN.json,
dialog_acts.json, db/, goals.json and booked_domains.json (or MultiWOZ 2.1's data.json in the place
of these two); a checkout of that repository, or its parts in one folder.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, repeat
from pathlib import Path
from typing import Any

from trainable.corpus.acts import SLOTS, Act, list_acts, spell_acts
from trainable.corpus.corpus import Tell
from trainable.corpus.delexicalise import delexicalise
from trainable.corpus.files import expect_fields, pair_turns, read_json
from trainable.corpus.goals import Aims, infer_booked, locate_aims, read_aims, shorten_id
from trainable.dialogue.database import DOMAINS, read_rows
from trainable.dialogue.dialogue import Dialogue, Requests, State, Turn
from trainable.trial import ConfigError

SPLITS = {"train": "train", "validation": "dev", "test": "test"}  # ours -> the folder's name
IN_CHECKOUT = Path("data/MultiWOZ_2.2")
# Acts may be published for a few dialogues that were withdrawn; a missing file is hundreds.
_STRAY_ACTS = 10

Splits = dict[str, tuple[Dialogue, ...]]


@dataclass(frozen=True, kw_only=True)
class CorpusFiles:
    """Where a folder keeps what."""

    dialogues: Mapping[str, Sequence[Path]]  # by split
    acts: Path
    aims: list[Path]
    database: Path  # a folder

    def __iter__(self) -> Iterator[Path]:
        for paths in self.dialogues.values():
            yield from paths
        yield self.acts
        yield from self.aims
        yield from (self.database / f"{domain}_db.json" for domain in DOMAINS)


def find_files(folder: Path) -> CorpusFiles:
    """The corpus's files in `folder`. Raises ConfigError, naming all that are missing."""
    inner = folder / IN_CHECKOUT if (folder / IN_CHECKOUT).is_dir() else folder
    files = CorpusFiles(
        dialogues={split: _find_dialogues(inner / name) for split, name in SPLITS.items()},
        acts=inner / "dialog_acts.json",
        aims=locate_aims(folder),
        database=folder / "db",
    )
    missing = [p for p in files if not p.is_file()]
    if missing:
        names = ", ".join(map(str, (p.relative_to(folder) for p in missing)))
        raise ConfigError(
            f"a corpus in MultiWOZ 2.2's layout needs {names} in {folder}: put what is missing "
            "there (MultiWOZ 2.1's data.json may stand for goals.json and booked_domains.json)"
        )
    return files


def _find_dialogues(folder: Path) -> list[Path]:
    """dialogues_001.json up to the highest number there is, whether or not all exist."""
    numbers = [int(p.stem[-3:]) for p in folder.glob("dialogues_[0-9][0-9][0-9].json")]
    return [folder / f"dialogues_{n:03}.json" for n in range(1, max(numbers, default=1) + 1)]


def read_splits(files: CorpusFiles, tell: Tell) -> Splits:
    """All dialogues, by split; `tell` is called for every span that was moved. Raises ConfigError
    where the files do not fit each other."""
    acts = read_json(files.acts)
    raw = {
        split: [d for p in paths for d in read_json(p)] for split, paths in files.dialogues.items()
    }
    with expect_fields(f"the dialogues of {files.acts.parent}"):
        _check_complete(raw, acts, files)
    aims = read_aims(files.aims)
    return {
        split: tuple(
            build_dialogue(d["dialogue_id"], _list_exchanges(d, acts), aims, tell)
            for d in dialogues
        )
        for split, dialogues in raw.items()
    }


def _check_complete(
    raw: Mapping[str, list[Mapping[str, Any]]], acts: Mapping[str, Any], files: CorpusFiles
) -> None:
    named = [dialogue["dialogue_id"] for dialogues in raw.values() for dialogue in dialogues]
    if len(set(named)) < len(named):
        raise ConfigError(f"dialogue ids must be unique, and {files.acts.parent} repeats some")
    without = [name for name in acts if name not in set(named)] if len(acts) != len(named) else []
    if len(without) > _STRAY_ACTS:
        raise ConfigError(
            f"dialogue files are missing in {files.acts.parent}: dialog_acts.json has "
            f"{len(without)} dialogues more than they (first: {without[0]}); fetch all of them"
        )
    for name in named:
        if name not in acts:
            raise ConfigError(
                f"dialogue {name} has no entry in {files.acts}: fetch that file again"
            )


def _list_exchanges(dialogue: Mapping[str, Any], acts: Mapping[str, Any]) -> Iterator[Exchange]:
    name = dialogue["dialogue_id"]
    for asked, answered in pair_turns(name, dialogue["turns"]):
        annotation = acts[name].get(answered["turn_id"])
        if annotation is None:
            raise ConfigError(
                f"dialog_acts.json has nothing for {name}, turn {answered['turn_id']}: "
                "fetch that file again"
            )
        yield Exchange(
            user=asked["utterance"],
            system=answered["utterance"],
            spans=annotation["span_info"],
            state=parse_state(
                (frame["service"], frame["state"]["slot_values"]) for frame in asked["frames"]
            ),
            requested=parse_requests(
                (slot for f in asked["frames"] for slot in f["state"].get("requested_slots") or ()),
                (acts[name].get(asked["turn_id"]) or {}).get("dialog_act") or {},
            ),
            acts=list_acts(annotation.get("dialog_act")),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Exchange:
    """A user's and a system's turn as every source gives them."""

    user: str
    system: str
    spans: Sequence[Sequence[Any]]  # the system turn's span_info
    state: State
    requested: Requests
    acts: Sequence[Act]  # the system's


def parse_state(frames: Iterable[tuple[str, Mapping[str, Sequence[str]]]]) -> State:
    """Domain -> slot -> the first of the values that frames (service, {"domain-slot": values})
    list. What the user does not care about is left out, and so are domains without a slot."""
    state = {}
    for service, values in frames:
        slots = {n.split("-")[1]: v[0] for n, v in values.items() if v and "dontcare" not in v}
        if slots:
            state[service] = slots
    return state


def parse_requests(slots: Iterable[str], acts: Mapping[str, Sequence[Sequence[str]]]) -> Requests:
    """Domain -> what the user asks to be told: by the slots that the states name, else by the acts
    of the turn.

    >>> parse_requests(["hotel-phone"], {"Hotel-Request": [["Post", "?"]]})
    {'hotel': ['phone']}
    >>> parse_requests([], {"Hotel-Request": [["Post", "?"]], "general-thank": [["none", "none"]]})
    {'hotel': ['postcode']}
    """
    asked = [(domain, slot) for domain, _, slot in (name.partition("-") for name in slots) if slot]
    if not asked:
        kinds = ((act.partition(" "), slots) for act, slots in list_acts(acts))
        asked = [(d, slot) for (d, _, kind), own in kinds if kind == "request" for slot, _ in own]
    requested: dict[str, list[str]] = {}
    for domain, slot in asked:
        requested.setdefault(domain, []).append(SLOTS.get(slot, slot))
    return {domain: sorted(set(own)) for domain, own in sorted(requested.items())}


def build_dialogue(name: str, exchanges: Iterable[Exchange], aims: Aims, tell: Tell) -> Dialogue:
    """The dialogue with its delexicalised responses, its goal (empty where unknown) and bookings
    (inferred where unknown)."""
    short = shorten_id(name)
    with expect_fields(f"dialogue {name}"):
        turns = tuple(
            build_turn(exchange, f"{name}, system turn {number}", tell)
            for number, exchange in enumerate(exchanges)
        )
    booked = aims.booked[short] if short in aims.booked else infer_booked(turns)
    by_turn = zip(turns, chain(booked, repeat(())), strict=False)
    turns = tuple(replace(turn, booked=tuple(own)) for turn, own in by_turn)
    return Dialogue(id=short, turns=turns, goal=aims.goals.get(short, {}))


def build_turn(exchange: Exchange, place: str, tell: Tell) -> Turn:
    """The turn, without what is booked by then."""
    delexicalised = delexicalise(exchange.system, exchange.spans, place, tell)
    return Turn(
        user=exchange.user,
        response=exchange.system,
        delexicalised=delexicalised,
        state=exchange.state,
        booked=(),
        requested=exchange.requested,
        acts=spell_acts(exchange.acts, delexicalised),
    )


def read_folder(files: CorpusFiles, tell: Tell) -> tuple[Splits, dict[str, list[dict[str, Any]]]]:
    """Dialogues by split, and the databases' rows by domain."""
    return read_splits(files, tell), read_rows(files.database)
