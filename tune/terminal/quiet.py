"""Libraries that log while they load, set to errors alone: call before they are imported."""

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
