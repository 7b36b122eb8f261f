"""Where Ray's workers look for modules: where the driver does.

Ray puts the working folder first on its workers' `sys.path`, where a user's own `analysis.py` or
`datasets.py` would hide ours, or a library's.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from ray.job_config import JobConfig

from tune.folder.versions import find_ours


class Job(JobConfig):
    """A job whose workers' `sys.path` is left alone."""

    def _runtime_env_has_working_dir(self) -> bool:
        """Whether the working folder reaches the workers by another way, so that Ray does not put
        it (and the script's) in front: `tests/tune/test_console.py` notices a Ray that does."""
        return True


@contextlib.contextmanager
def ours_found() -> Iterator[None]:
    """Processes that are started inside find our packages, wherever these are."""
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = find_ours()["PYTHONPATH"]
    try:
        yield
    finally:
        del os.environ["PYTHONPATH"]
        if before is not None:
            os.environ["PYTHONPATH"] = before
