"""Files that appear at once with all their bytes, or not at all."""

import json
import os
from pathlib import Path
from typing import Any


def write_whole(path: Path, data: bytes, *, is_awaited: bool = False) -> None:
    """Written beside, then renamed; with `is_awaited`, on disk before this returns. Raises OSError,
    and leaves nothing behind then."""
    draft = path.with_name(f".{path.name}-{os.getpid()}")
    draft.unlink(missing_ok=True)  # of a dead process with this number, or a link laid there
    try:
        with draft.open("xb") as file:
            file.write(data)
            if is_awaited:
                file.flush()
                os.fsync(file.fileno())
        os.replace(draft, path)
    finally:
        draft.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Whole or not at all, and on disk."""
    data = json.dumps(content, indent=1, allow_nan=False).encode()
    write_whole(path, data, is_awaited=True)
