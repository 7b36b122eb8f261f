"""A corpus once it is read, and how it is kept: parsed once, then read from the cache."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from trainable.dialogue.database import Database
from trainable.dialogue.dialogue import Dialogue, Turn
from trainable.system.cache import recall
from trainable.system.garbage import pause_collection
from trainable.trial import ConfigError

Kind = Literal["multiwoz", "sgd", "chats"]  # what can be read and scored
Rows = dict[str, list[dict[str, Any]]]  # the databases', by domain
KEPT = "4"  # goes up when more is kept of the same dialogues


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """Dialogues by split and the databases they are about, whatever layout they were read from."""

    name: str
    splits: Mapping[str, tuple[Dialogue, ...]]  # train, validation, test
    database: Database  # empty where the corpus brings none
    fingerprint: str  # of the source files' contents, and of this reader
    moved_spans: int = 0  # that did not cover the value they carry, and were moved to it
    kind: Kind = "multiwoz"
    notes: tuple[str, ...] = ()  # what was dropped, held out or kept as text, one line each

    def get_split(self, split: str) -> tuple[Dialogue, ...]:
        """Raises ConfigError on a split that does not exist, or is empty."""
        if not self.splits.get(split):
            raise ConfigError(
                f"--split must be one of {', '.join(s for s in self.splits if self.splits[s])} "
                f"with corpus {self.name}, not {split!r}"
            )
        return self.splits[split]


@dataclass(frozen=True, kw_only=True)
class Parsed:
    """What a reader makes of a corpus's files."""

    splits: Mapping[str, tuple[Dialogue, ...]]
    rows: Rows
    notes: tuple[str, ...] = ()


Tell = Callable[[str], None]  # hears of a span that did not cover its value
Read = Callable[[Tell], Parsed]


RECENT: dict[tuple[str, str], Corpus] = {}  # (name, fingerprint): the one read last is kept


def restore(name: str, fingerprint: str, read: Read, kind: Kind = "multiwoz") -> Corpus:
    """What `read` makes of the files with that fingerprint, or made of them earlier. Of MultiWOZ's
    size this takes seconds, and a plan asks for one corpus many times."""
    corpus = RECENT.get((name, fingerprint))
    if corpus is None:
        corpus = _build(name, fingerprint, read, kind)
        RECENT.clear()
        RECENT[name, fingerprint] = corpus
    return corpus


@pause_collection()
def _build(name: str, fingerprint: str, read: Read, kind: Kind) -> Corpus:
    def build() -> dict[str, Any]:
        moved: list[str] = []
        parsed = read(moved.append)
        packed = {s: [*map(_pack, ds)] for s, ds in parsed.splits.items()}
        return {
            "splits": packed,
            "rows": parsed.rows,
            "moved_spans": len(moved),
            "notes": list(parsed.notes),
        }

    kept = recall(f"{fingerprint}-{KEPT}", build)
    return Corpus(
        name=name,
        splits={split: tuple(map(_unpack, packed)) for split, packed in kept["splits"].items()},
        database=Database(kept["rows"]),
        fingerprint=fingerprint,
        moved_spans=kept["moved_spans"],
        kind=kind,
        notes=tuple(kept["notes"]),
    )


def _pack(dialogue: Dialogue) -> list[Any]:
    turns = [
        [t.user, t.response, t.delexicalised, t.state, t.booked, t.requested, t.acts]
        for t in dialogue.turns
    ]
    return [dialogue.id, dialogue.goal, turns, dialogue.system]


def _unpack(packed: list[Any]) -> Dialogue:
    name, goal, turns, system = packed
    return Dialogue(
        id=name,
        goal=goal,
        turns=tuple(
            Turn(
                user=user,
                response=response,
                delexicalised=delex,
                state=state,
                booked=tuple(booked),
                requested=requested,
                acts=acts,
            )
            for user, response, delex, state, booked, requested, acts in turns
        ),
        system=system,
    )
