"""Ask and tell over a sweep that somebody else drives: a person or a program proposes trials."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainable.trial import ConfigError
from tune.api.result import SweepResult
from tune.api.settings import spell_fixed

if TYPE_CHECKING:
    from search_spaces.space import Space

LOOK_S = 1.0


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """What the sweep's own sampler would try next; taking another point is the point."""

    params: Mapping[str, Any] | None  # None: the space has no point left
    space: Space  # what may be searched


class OpenSweep(SweepResult):
    """A sweep to propose trials to. Every proposal is recorded with its reason before it is tried,
    so that `--resume` rebuilds the sweep just as it was."""

    def ask(self) -> Suggestion:
        """The next point as the records stand; nothing is reserved by asking."""
        from tune.search.rebuild import read_settings, rebuild
        from tune.search.search import Search
        from tune.simulate.outcome import Unrecorded

        records = self.records
        config, space = read_settings(records)
        with tempfile.TemporaryDirectory() as nowhere:
            search = Search(config, space, Unrecorded(Path(nowhere)))
            rebuild(search, records)
            return Suggestion(params=search.suggest(), space=space)

    def tell(self, params: Mapping[str, Any], why: str = "") -> str | None:
        """Proposes a point, in whole or in part; the trial that tries it. None: nobody drives the
        sweep, and the next `resume` takes it up. Raises ConfigError where it is refused."""
        from tune.folder.lock import find_owner
        from tune.folder.requests import await_answer
        from tune.plan.flags import parse_settings
        from tune.propose import send_proposal

        if not isinstance(params, Mapping):
            raise ConfigError(f"tell takes fields and their values, not {params!r:.80}")
        point = parse_settings(spell_fixed(params))
        request = send_proposal(self.folder, point, why)
        if find_owner(self.folder) is None:
            return None
        answer = await_answer(self.folder, request)
        if not answer.done:
            raise ConfigError(answer.text)
        return answer.trial

    def wait(self, trial: str, timeout_s: float | None = None) -> str:
        """Until the trial has ended; its state (COMPLETE, PRUNED, FAIL). Raises TimeoutError."""
        until_s = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            found = next((t for t in self.records.trials if t.id == trial), None)
            if found is None:
                raise ConfigError(f"{self.name} has no trial {trial}")
            if found.ended_s is not None:
                return found.state
            if until_s is not None and time.monotonic() > until_s:
                raise TimeoutError(f"trial {trial} of {self.name} has not ended")
            time.sleep(LOOK_S)


def open_sweep(name: str | Path, storage: str | Path = "runs") -> OpenSweep:
    """A sweep that is there: running, paused or ended. Raises ConfigError."""
    from analysis.records import find_sweep
    from tune.api.search import locate_storage

    return OpenSweep(find_sweep(name, locate_storage(storage)))
