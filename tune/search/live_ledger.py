"""A ledger for as long as a sweep runs: of thousands of trials no more than its driver asks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from sys import intern
from typing import Any

from analysis.ledger import Ledger
from analysis.records import EvalRecord, TrialRecord

# of an evaluation: what neither the budget nor the live table shows. The records have it
UNSHOWN: Mapping[str, Any] = {
    **{"train_s": 0.0, "recording_s": 0.0, "train_turns_per_s": 0.0, "tokens_per_s": 0.0},
    **{"peak_gib": 0.0, "eval_s": 0.0, "generate_s": None, "distinct_replies": None},
    **dict.fromkeys(("loss_nats", "nats_per_placeholder", "bleu", "inform", "success")),
    **dict.fromkeys(("dst", "placeholders", "calibrated", "metrics")),
    **{"richness": {}, "intervals": {}},
}


class LiveLedger(Ledger):
    """The trials with their evaluations' objective, loss, place and times, and the last note.
    Values that many trials have are kept once."""

    def __init__(self) -> None:
        super().__init__()
        self._common: dict[Any, Any] = {}

    def add(self, event: Mapping[str, Any], line: int = 0) -> None:
        super().add(event, line)
        self.order.clear()
        self.decisions.clear()
        del self.notes[:-1]

    def _open(self, event: Mapping[str, Any], known: TrialRecord | None) -> TrialRecord:
        trial = super()._open(event, known)
        params = {intern(n): intern(v) if type(v) is str else v for n, v in trial.params.items()}
        config = {
            intern(n): params[n] if n in params and params[n] == v else self._share((type(v), v), v)
            for n, v in trial.config.items()
        }
        return replace(trial, params=params, config=config)

    def _resolved(self, trial: TrialRecord, event: Mapping[str, Any]) -> TrialRecord:
        return trial

    def _eval(self, trial: TrialRecord, event: Mapping[str, Any]) -> TrialRecord:
        evals, turns = super()._eval(trial, event).evals, event["turns_seen"]
        short = (self._shorten(e) if e.turns_seen == turns else e for e in evals)
        return replace(trial, evals=tuple(short))

    def _end(self, trial: TrialRecord, event: Mapping[str, Any]) -> TrialRecord:
        ended = super()._end(trial, event)
        return replace(
            ended, state=intern(ended.state), reason=ended.reason and intern(ended.reason)
        )

    def _shorten(self, result: EvalRecord) -> EvalRecord:
        where = {name: result.place.get(name) for name in ("node", "gpu")}
        place = self._share(str(where), where)
        own = {"states": intern(result.states), "split": intern(result.split), "place": place}
        return replace(result, **UNSHOWN, **own)

    def _share(self, key: Any, value: Any) -> Any:
        return self._common.setdefault(key, value)
