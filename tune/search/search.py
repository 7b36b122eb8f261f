"""The search itself: gives out work, old or new. What becomes of it: `table.py`. Knows no Ray.

A worker holds a lease on a trial until the search tells it to stop. A trial that pauses at its
rung (asha=promote), was interrupted, or lost its driver gets a later lease under the same id and
goes on from its last checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from analysis.records import BASE_ID, BASE_NUMBER, TrialRecord, read_sweep
from search_spaces.space import Space
from trainable.evaluation.objective import Objective
from trainable.system.clock import now_s
from trainable.system.inside import stay_inside
from trainable.trial import ConfigError, TrialConfig
from trainable.worker.lease import Lease
from tune.folder.recorder import Recorder
from tune.search.clones import locate_adapter
from tune.search.config import SweepConfig
from tune.search.confirm import Origin, list_settled, list_unconfirmed
from tune.search.points import Call
from tune.search.proposals import check_point, propose
from tune.search.table import Closing, TrialTable
from tune.search.trials import (
    ENDED,
    Progress,
    drop_training,
    is_confirmation,
    is_studied,
    name_trial,
)


class Search(TrialTable):
    """A sweep's search: proposes points, takes reports, and says who trains on."""

    def __init__(
        self,
        config: SweepConfig,
        space: Space,
        recorder: Recorder,
        objective: Objective | None = None,
    ) -> None:
        """`objective`: with its source where that is Python, which no record holds."""
        super().__init__(config, recorder, objective)
        self.space = space
        self.room = config.concurrent or 1
        self.pool: str | None = None  # the name of the engine pool's actor, if there is one
        self.is_exhausted = False  # the space has no point left
        self.n_ended = 0  # trials, when confirmations were looked for last
        self.is_done = False  # nothing runs, and there is nothing left to give out
        self.fault: OSError | None = None  # the storage does not take what happens
        self.versions: Mapping[str, str] = {}  # that a worker must have

    # What is asked

    def lease(self) -> Lease | None:
        """Work for one more worker: an interrupted trial, one that earned promotion, or a new
        one. None when there is no room or nothing to do now."""
        if self.closing or self.fault or len(self.running) >= self.room:
            return None
        while (trial := self._pick()) is not None and self.nodes.is_none_left(trial.config):
            self._give_up(trial)
            if self.closing:
                return None
        if trial is None:
            self.is_done = not self.running
            return None
        if self.closing:  # while it was being opened
            return None
        trial.state, trial.since_s = "RUNNING", now_s()
        return Lease(
            trial=trial.id,
            config=locate_adapter(trial.config, self.recorder.folder),
            milestones=self.milestones(trial),
            reported_turns=trial.turns_seen,
            checkpoints=stay_inside(self.recorder.folder, f"checkpoints/{trial.id}"),
            remote=self.recorder.remote and self.recorder.remote.under("checkpoints", trial.id),
            objective=self.objective,
            pool=self.pool,
            avoided=self.nodes.list_avoided(trial.id, trial.config),
            versions=self.versions,
        )

    def _give_up(self, trial: Progress) -> None:
        """No node can carry the trial out: it fails alone where others have another base model,
        else the search closes."""
        why = f"no node is left: {self.nodes.describe(trial.config)}"
        if "base_model" in self.space.searched and not self.nodes.is_none_left(None):
            self._end(trial, "FAIL", why)
        else:
            self.closing = Closing(why=why, code=1)

    def clone(
        self, params: Mapping[str, Any], config: TrialConfig, origin: Mapping[str, Any]
    ) -> Progress:
        """One more trial, on top of those that are proposed."""
        return self._open(self.next_number, params, config, origin)

    def suggest(self, given: Mapping[str, Any] | None = None) -> Mapping[str, Any] | None:
        """The point that the sampler would try next, `given` fields as they are; None: the space
        has none left. Nothing is decided by it."""
        points = dict.fromkeys(self.race.points[t.id] for t in self.searched if is_studied(t))
        has_earned = self.config.asha == "promote"
        history = [point.view(has_earned=has_earned) for point in points]
        seed, sampler = self.config.seed, self.config.sampler
        return propose(self.space, history, seed, self.next_number, sampler=sampler, given=given)

    def take(self, given: Mapping[str, Any], proposal: Mapping[str, Any]) -> Progress:
        """A point that somebody outside proposes is tried next, what it leaves open chosen by the
        sampler. It counts as one of the sweep's trials. Raises ConfigError."""
        check_point(self.space, given)
        twin = next((t for t in self.searched if t.params == given), None)
        params = None if twin else self.suggest(given)
        if params is None or any(params.get(name) != given[name] for name in given):
            why = f"trial {twin.id} has exactly this point" if twin else "no such point is left"
            raise ConfigError(f"{why}: propose another (--set)")
        config = self.space.to_config(params, self.config.base)
        return self._open(self.next_number, params, config, proposal=proposal)

    # How

    def _pick(self) -> Progress | None:
        """The trial to work on next; opened where it is a new one."""
        trial = self._next_queued() or self._next_promoted() or self._open_next()
        trial = trial or self._next_promoted("idle")
        is_racing = any(not is_confirmation(t) for t in self.running)
        if trial is None and not is_racing:
            trial = self._next_promoted("last")
        if trial is None and is_racing and self.is_decided():
            self.finish()  # so that choices of which nobody is under way may be confirmed
        return trial or self._open_confirmations(is_racing)

    def _next_queued(self) -> Progress | None:
        queued = (t for t in self.trials.values() if t.state == "QUEUED")
        return min(queued, key=lambda t: t.number, default=None)

    def _next_promoted(self, call: Call = "earned") -> Progress | None:
        for trial in self.race.promote(call):
            trial.state = "QUEUED"
            self.parking.tell_promoted(trial.id)
        return self._next_queued()

    def _open_next(self) -> Progress | None:
        if self.config.baseline and BASE_ID not in self.trials:
            point = self.space.first[0] if self.space.first else {}
            config = drop_training(self.space.to_config(point, self.config.base))
            return self._open(BASE_NUMBER, {}, config)
        number, proposed = self.next_number, len(self.proposed)
        if proposed >= self.config.trials:
            return None
        if (short := self.race.find_short()) is not None:
            base = {**self.config.base, "seed": short.pick_seed(self.config.base["seed"])}
            params = short.seeds[0].params
            return self._open(number, params, self.space.to_config(params, base))
        found = None if self.is_exhausted else self._propose(proposed)
        if found is None:
            return None
        return self._open(number, found, self.space.to_config(found, self.config.base))

    def _open(
        self,
        number: int,
        params: Mapping[str, Any],
        config: TrialConfig,
        origin: Mapping[str, Any] | None = None,
        proposal: Mapping[str, Any] | None = None,
    ) -> Progress:
        trial_id = BASE_ID if number == BASE_NUMBER else name_trial(number)
        trial = Progress(trial_id, number, params, config, origin=origin, proposal=proposal)
        self.recorder.record_trial(trial_id, number, params, config, origin, proposal)
        self.add(trial)
        return trial

    def list_unconfirmed(self, *, is_racing: bool = False) -> list[tuple[TrialRecord, Origin]]:
        """The confirmations that are still to be opened, were the race over; while it is not,
        those that it changes no more."""
        if not self.config.confirm:
            return []
        records = read_sweep(self.recorder.folder)
        return (list_settled if is_racing else list_unconfirmed)(records, self.config)

    def _open_confirmations(self, is_racing: bool) -> Progress | None:
        """All that can be opened now, the first of them: while trials run, looked for once one of
        them has ended."""
        before, self.n_ended = self.n_ended, sum(t.state in ENDED for t in self.trials.values())
        if self.running and self.n_ended == before:
            return None
        for original, origin in self.list_unconfirmed(is_racing=is_racing):
            config = TrialConfig.from_dict({**original.config, **origin["set"]})
            self.clone(dict(original.params), config, origin)
        return self._next_queued()

    def _propose(self, proposed: int) -> Mapping[str, Any] | None:
        params = self.suggest()
        if params is None:
            self.is_exhausted = True
            self.recorder.record_note(
                f"the space has no point left after {proposed} of {self.config.trials} trials",
                exhausted_at=proposed,
            )
        return params
