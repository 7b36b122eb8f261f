"""A toy sweep without Ray, and a Ray for the tests that want a real one."""

import os
from collections.abc import Callable, Iterator
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


@pytest.fixture(scope="session")
def local_ray() -> Iterator[None]:
    """One small Ray for the whole session, as quiet as a sweep's own."""
    from tune.workers.fleet import SETTINGS

    os.environ.update(SETTINGS)
    import ray

    ray.init(
        "local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR"
    )
    yield
    ray.shutdown()
