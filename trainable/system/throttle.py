"""Work that is worth doing now and then, and never for more than a share of the time."""

import time
from types import TracebackType


class Throttle:
    """`if throttle.is_due(): with throttle: ...`: not within `every_s` seconds of the last time's
    end, and not before that time was at most `share` of what has passed since."""

    def __init__(self, every_s: float, share: float = 0.01, *, at_once: bool = True) -> None:
        self.every_s, self.share = every_s, share
        self.due_s = time.monotonic() + (0.0 if at_once else every_s)

    def is_due(self) -> bool:
        return time.monotonic() >= self.due_s

    def __enter__(self) -> None:
        self.started_s = time.monotonic()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        now_s = time.monotonic()
        self.due_s = now_s + max(self.every_s, (now_s - self.started_s) / self.share)
