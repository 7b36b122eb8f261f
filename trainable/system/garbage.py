"""Python's cyclic garbage collector, out of the way where millions of small objects are made."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def pause_collection() -> Iterator[None]:
    """No collections inside (also as a decorator). Each would walk every dialogue and count in
    memory, none of which is garbage: that is half the time of loading a corpus."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
