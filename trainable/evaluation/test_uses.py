"""How often a system was scored on a test split, on this machine: more than once is a search."""

import json
import time
from pathlib import Path

from trainable.system.cache import find_cache_folder


def count_use(system: str, corpus: str) -> int:
    """How often `system` (a checksum) was scored on the test split of the corpus with that
    fingerprint before; this time is noted."""
    path = find_cache_folder() / "scored_on_test.jsonl"
    use = {"system": system, "corpus": corpus}
    before = sum(use.items() <= known.items() for known in _read(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps({**use, "time_s": time.time()}) + "\n")
    return before


def _read(path: Path) -> list[dict[str, object]]:
    """A line that a crash cut off counts for nothing."""
    uses = []
    for line in path.read_text("utf-8").splitlines() if path.is_file() else ():
        try:
            use = json.loads(line)
        except ValueError:
            continue
        uses += [use] if isinstance(use, dict) else []
    return uses
