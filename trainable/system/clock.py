"""Unix time as one process counts it: read once, then counted on without looking at the machine's
clock, so that no jump of that gets into a duration."""

import time

_BEGAN_S = time.time() - time.monotonic()


def now_s() -> float:
    return _BEGAN_S + time.monotonic()
