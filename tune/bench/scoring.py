"""Losses and replies of slots as they stand, outside an engine: for measurements."""

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from trainable.corpus.losses import Losses
from trainable.engine.pack import Pack
from trainable.engine.slots.slot import Slot
from trainable.evaluation.validation import Generated, score
from trainable.result import TrainerState, ValidationRequest


def measure_losses(pack: Pack, slots: Sequence[Slot], n_dialogues: int) -> dict[str, Losses]:
    """Of each slot's scored weights on the first validation dialogues, by its key."""
    asked = ValidationRequest(n_dialogues, replies=False)
    made = pack.generate([(slot, asked) for slot in slots])
    return {key: each.losses for key, each in made.items()}


def make_replies(pack: Pack, slots: Sequence[Slot], n_dialogues: int) -> dict[str, Generated]:
    """Each slot's replies to the first validation dialogues, by its key; none for 0 dialogues."""
    asked = ValidationRequest(n_dialogues)
    made = pack.generate([(slot, asked) for slot in slots]) if n_dialogues else {}
    return {
        slot.key: Generated(
            corpus=slot.config.corpus,
            response=slot.config.response,
            asked=asked,
            responses=made[slot.key].responses,
            losses=made[slot.key].losses,
            state=TrainerState(turns_seen=slot.turns_seen, steps=slot.steps),
            generate_s=0.0,
        )
        for slot in (slots if made else ())
    }


def score_replies(generated: Generated) -> dict[str, float]:
    result = score(generated).result
    texts = [turn["response"] for turns in generated.responses.values() for turn in turns]
    return {
        **{"combined": result.combined, "bleu": result.bleu},
        **{"inform": result.inform, "success": result.success},
        "placeholders": sum(text.count("[") for text in texts) / len(texts),
    }


def write_rows(out: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """A JSON line each."""
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text("".join(json.dumps(row) + "\n" for row in rows))


def add_scoring(parser: argparse.ArgumentParser, loss: int, replies: int, out: str) -> None:
    """Flags of what is scored, with their defaults, and of where it is written."""
    parser.add_argument(
        "--loss-dialogues", type=int, default=loss, help="validation dialogues of a loss"
    )
    parser.add_argument(
        "--reply-dialogues", type=int, default=replies, help="validation dialogues replied to"
    )
    parser.add_argument(
        "--out", type=Path, default=Path(out), metavar="FILE", help="write a JSON line a row here"
    )
