"""A toy sweep without Ray."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from inline import make_config, open_search, run_inline

from analysis.records import SweepRecords, read_sweep


@pytest.fixture
def sweep(tmp_path: Path) -> Callable[..., SweepRecords]:
    """Runs a toy sweep to its end and reads it."""

    def run(**settings: Any) -> SweepRecords:
        room = settings.pop("room", 1)
        config, space = make_config(tmp_path, **settings)
        search, _ = open_search(config, space)
        search.room = room
        run_inline(search)
        return read_sweep(config.folder)

    return run
