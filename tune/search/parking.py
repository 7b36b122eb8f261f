"""What trials that wait at a rung keep on the disk. Who gives its checkpoints up waits on: no
decision of the race depends on it. Promoted, it trains again from its beginning, to where it was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from tune.folder.disk import GIB
from tune.folder.recorder import Recorder


class Parking:
    def __init__(self, recorder: Recorder, limit_gib: float) -> None:
        self.recorder, self.limit_gib = recorder, limit_gib
        self.sizes: dict[str, int] = {}  # of the trials that wait, bytes of their checkpoints

    def stay_within(self, waiting: Iterable[str], rank: Callable[[], Iterable[str]]) -> None:
        """Drops checkpoints of the trials that wait, in the order of `rank`, until the rest is
        within the limit."""
        known, measure = self.sizes, self.recorder.measure_checkpoints
        self.sizes = {t: known[t] if t in known else measure(t) for t in waiting}
        if self._is_full():
            for trial in rank():
                self.recorder.drop_checkpoints(trial)
                self.sizes[trial] = 0
                if not self._is_full():
                    break

    def _is_full(self) -> bool:
        return sum(self.sizes.values()) > self.limit_gib * GIB

    def tell_promoted(self, trial: str) -> None:
        """Of a trial that waited; on object storage its checkpoints are still there."""
        if self.recorder.remote is None and self.sizes.get(trial) == 0:
            self.recorder.record_note(
                f"trial {trial} is promoted and trains again from its beginning: its checkpoints "
                f"made room for others' (--parked-gib {self.limit_gib:g})"
            )
