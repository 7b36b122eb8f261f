"""Schema-Guided Dialogue for tests: made dialogues in its layout, or a part of the real ones."""

from __future__ import annotations

import json
import re
import tarfile
from pathlib import Path
from typing import Any

ARCHIVE = Path(__file__).parents[2] / "shared" / "sgd.tar.xz"
A_FILE_EACH = r"sgd/(train|dev|test)/(schema|dialogues_001)\.json"


def make_dialogue(number: int) -> dict[str, Any]:
    state = {
        "active_intent": "Find",
        "requested_slots": [],
        "slot_values": {"city": ["Rome", "rome"]},
    }
    asked = {"service": "Hotels_2", "slots": [], "actions": [], "state": state}
    said = f"Hotel {number} is in Rome, one of 7."
    acts = [{"act": "INFORM_COUNT", "slot": "count", "values": ["7"], "canonical_values": ["7"]}]
    slots = [{"slot": "hotel_name", "start": 0, "exclusive_end": len(f"Hotel {number}")}]
    answered = {"service": "Hotels_2", "slots": slots, "actions": acts}
    return {
        "dialogue_id": f"1_{number:05}",
        "services": ["Hotels_2"],
        "turns": [
            {"speaker": "USER", "utterance": "A hotel in Rome?", "frames": [asked]},
            {"speaker": "SYSTEM", "utterance": said, "frames": [answered]},
            {"speaker": "USER", "utterance": "Bye.", "frames": []},
        ],
    }


def write_sgd(folder: Path, n_dialogues: int = 2) -> None:
    for split in ("train", "dev", "test"):
        (folder / split).mkdir(parents=True)
        rows = [make_dialogue(n) for n in range(n_dialogues)]
        (folder / split / "dialogues_001.json").write_text(json.dumps(rows))
        (folder / split / "schema.json").write_text("[]")


def bring_sgd(folder: Path) -> Path:
    """A file of each split of the published ones, or of made ones where those are not there."""
    if ARCHIVE.is_file():
        with tarfile.open(ARCHIVE) as packed:
            chosen = [m for m in packed.getmembers() if re.fullmatch(A_FILE_EACH, m.name)]
            packed.extractall(folder, chosen, filter="data")
    else:
        write_sgd(folder / "sgd", n_dialogues=60)
    return folder / "sgd"
