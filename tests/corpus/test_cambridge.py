"""The embedded corpus's generator: deterministic, well formed, varied, and learnable."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest

from trainable.corpus.cambridge import write_corpus
from trainable.corpus.cambridge.elsewhere import write_texts
from trainable.corpus.cambridge.simulate import simulate
from trainable.corpus.cambridge.system_templates import SYSTEM
from trainable.corpus.cambridge.user_templates import USER
from trainable.corpus.cambridge.venues import build_tables, find
from trainable.corpus.cambridge.wording import SLOT, expand
from trainable.corpus.load import load_corpus
from trainable.dialogue.slots import CANONICAL
from trainable.evaluation.evaluator import Evaluator

SIZES = (60, 20, 20)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cambridge")
    write_corpus(folder, seed=7, sizes=SIZES)
    return folder


def read_all(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.json")}


def read(folder: Path, name: str) -> Any:
    return json.loads((folder / name).read_text())


def test_same_seed_same_bytes(folder: Path, tmp_path: Path) -> None:
    write_corpus(tmp_path / "again", seed=7, sizes=SIZES)
    write_corpus(tmp_path / "other", seed=8, sizes=SIZES)
    assert read_all(tmp_path / "again") == read_all(folder)
    assert read_all(tmp_path / "other") != read_all(folder)


def test_layout_is_that_of_multiwoz(folder: Path) -> None:
    assert {*read_all(folder)} == {
        *(f"{split}/dialogues_001.json" for split in ("train", "dev", "test")),
        *(f"db/{domain}_db.json" for domain in ("restaurant", "hotel", "attraction", "train")),
        *("dialog_acts.json", "schema.json", "goals.json", "booked_domains.json"),
    }
    services = {entry["service_name"] for entry in read(folder, "schema.json")}
    assert services == {"restaurant", "hotel", "attraction", "train", "taxi"}


def test_spans_and_slots_lie_where_they_say(folder: Path) -> None:
    acts = read(folder, "dialog_acts.json")
    for dialogue in read(folder, "train/dialogues_001.json"):
        for turn in dialogue["turns"]:
            text = turn["utterance"]
            for _, _, value, start, end in acts[dialogue["dialogue_id"]][turn["turn_id"]][
                "span_info"
            ]:
                assert text[start:end] == value
            for frame in turn["frames"]:
                for slot in frame["slots"]:
                    assert text[slot["start"] : slot["exclusive_end"]] == slot["value"]


@pytest.mark.parametrize("seed", range(3))
def test_its_own_responses_are_perfect(tmp_path: Path, seed: int) -> None:
    write_corpus(tmp_path, seed=seed, sizes=(250, 10, 10))
    corpus = load_corpus(str(tmp_path))
    dialogues = corpus.splits["train"]
    gold = {d.id: [{"response": turn.delexicalised} for turn in d.turns] for d in dialogues}
    scores = Evaluator(dialogues, corpus.database).score(gold)
    assert (scores.inform, scores.success) == (100.0, 100.0)
    assert scores.bleu == pytest.approx(100.0)


def test_everything_the_task_needs_occurs(folder: Path) -> None:
    """Several domains, offers that fail, bookings that fail and succeed, changes of mind."""
    acts = [
        act
        for dialogue in read(folder, "dialog_acts.json").values()
        for turn in dialogue.values()
        for act in turn["dialog_act"]
    ]
    kinds = {"NoOffer", "NoBook", "Book", "Request", "Inform", "reqmore", "bye", "thank"}
    assert kinds <= {act.split("-")[1] for act in acts}
    goals = read(folder, "goals.json").values()
    assert {1, 2, 3} == {len(goal) for goal in goals}
    states = [
        {k: v for f in turn["frames"] for k, v in f["state"]["slot_values"].items()}
        for dialogue in read(folder, "train/dialogues_001.json")
        for turn in dialogue["turns"][::2]
    ]
    pairs = pairwise(states)
    assert any(
        before.keys() <= after.keys() and any(after[k] != v for k, v in before.items())
        for before, after in pairs
    )


def test_templates_are_many_and_their_slots_are_known() -> None:
    entries = [e for table in (SYSTEM, USER) for act in table.values() for e in act]
    assert sum(len({*expand(entry)}) for entry in entries) >= 150
    slots = {
        slot
        for table in (SYSTEM, USER)
        for entries in table.values()
        for entry in entries
        for slot in SLOT.findall(entry)
    }
    assert slots <= set(CANONICAL)


def test_offers_follow_from_the_state() -> None:
    """A venue is named only when something meets the state, and refused only when nothing does."""
    rng, tables = Random(1), build_tables(Random(0))
    for _ in range(200):
        _, exchanges = simulate(rng, tables)
        for exchange in exchanges[:-1]:
            rows = find(tables.get(exchange.domain, []), exchange.state[exchange.domain])
            acts = {act.split("-")[1] for act in exchange.system.acts}
            names = {span.value for span in exchange.system.spans if span.slot == "name"}
            assert ("NoOffer" in acts) <= (not rows)
            assert names <= {row.get("name") for row in rows}


def test_pretraining_text_has_no_slots_in_replies() -> None:
    replies = [
        line
        for text in write_texts(seed=0, number=300)
        for line in text.splitlines()
        if line.startswith("bot>")
    ]
    assert len(replies) > 300
    assert not any("[" in reply for reply in replies)
