"""A search as its records left it: what `--resume` goes on from. Ray's state plays no part."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from math import inf

from analysis.records import RUNNING, SweepRecords, TrialRecord
from search_spaces.distributions import contains
from search_spaces.space import Space
from trainable.trial import ConfigError, TrialConfig
from tune.search.search import Search
from tune.search.trials import ENDED, Progress

Retell = Callable[[], object]


def rebuild(search: Search, records: SweepRecords) -> None:
    """Tells the search everything once, in the order in which it happened: trials, scores (and so
    the rungs), ends. Unfinished trials are queued, or wait at their rung as they did.
    A trial that had completed at a shorter length than the sweep's now goes on if the rung at its
    old end lets it."""
    records = replace(records, trials=tuple(_reopen(search, t) for t in records.trials))
    for record in records.trials:
        search.add(_restore_trial(search, record))
    for _, _, retell in sorted(_list_events(search, records), key=lambda event: event[:2]):
        retell()
    known = {(d.turns, d.trials) for d in records.decisions}
    judged = search.race.judged
    search.race.judged = [j for j in judged if (j.milestone, j.trials) not in known]
    search.record_rungs()
    for trial in list(search.trials.values()):
        _settle(search, trial)
    is_same = is_space_of(records, search.space)
    search.is_exhausted = is_same and records.exhausted_at is not None


def _list_events(search: Search, records: SweepRecords) -> Iterator[tuple[float, int, Retell]]:
    """(time, turns seen, what tells the search of it) of all scores and ends."""
    for record in records.trials:
        trial = search.trials[record.id]
        for e in record.evals:
            yield e.time_s, e.turns_seen, partial(search.hear, trial, e)
        if record.state in ENDED:
            end = partial(_end, search, trial, record.state, record.reason)
            yield record.ended_s or inf, trial.turns_seen, end


def _end(search: Search, trial: Progress, state: str, reason: str | None) -> None:
    trial.state, trial.reason = state, reason
    search.race.leave(trial)


def _reopen(search: Search, record: TrialRecord) -> TrialRecord:
    """A trial of the sweep's former length that completed, or is under way, has its present one."""
    turns = search.config.train_turns
    is_short = record.config.get("train_turns", turns) < turns
    if (
        record.is_base
        or record.is_confirmation
        or record.state not in ("COMPLETE", RUNNING)
        or not is_short
    ):
        return record
    own_length = record.origin is not None and "train_turns" in record.origin["set"]
    if own_length or "train_turns" in search.space.searched:
        return record
    config = TrialConfig.from_dict({**record.config, "train_turns": turns})
    search.recorder.record_trial(record.id, record.number, record.params, config, record.origin)
    return replace(record, config=config.to_dict(), state=RUNNING, reason=None)


def _restore_trial(search: Search, record: TrialRecord) -> Progress:
    config = TrialConfig.from_dict(record.config)
    is_outside = record.is_base or (record.origin and not record.origin["in_study"])
    params = dict(record.params) if is_outside else search.space.read(config)
    trial = Progress(record.id, record.number, params, config, origin=record.origin)
    trial.is_resolved = record.resolved is not None
    return trial


def _settle(search: Search, trial: Progress) -> None:
    """What a trial that has not ended becomes: its last report was recorded, what became of it was
    not. One that has work to do stays QUEUED: interrupted, it goes on from its last checkpoint."""
    if trial.state in ENDED or not trial.scores:
        return
    if search.is_at_end(trial) or not search.race.goes_on(trial):
        search.settle(trial)


def is_space_of(records: SweepRecords, space: Space) -> bool:
    return Space.from_dict(records.space) == space


def check_widened(space: Space, records: SweepRecords) -> None:
    """Raises ConfigError unless every field searched before still is, and every point tried lies
    in the space."""
    searched = set(records.space.get("searched") or ())
    if lost := sorted(searched - set(space.searched)):
        raise ConfigError(
            f"a resumed sweep's space may only widen, and {space.name} no longer searches "
            f"{', '.join(lost)}: keep the space of {records.name}, or start a new sweep (--name)"
        )
    for trial in records.searched:
        for name, distribution in space.searched.items():
            if name in trial.config and not contains(distribution, trial.config[name]):
                raise ConfigError(
                    f"a resumed sweep's space may only widen, and {name}={trial.config[name]!r} of "
                    f"trial {trial.id} lies outside {distribution}: widen it, or start a new sweep "
                    "(--name)"
                )
