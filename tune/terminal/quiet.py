"""Libraries that talk while they load, told to keep to errors: call before they are imported."""

from __future__ import annotations

import logging
import os
import sys
import warnings


def quieten() -> None:
    """No notes on absent kernels and coming versions; progress bars on a terminal only."""
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning)
    if not sys.stderr.isatty():
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
