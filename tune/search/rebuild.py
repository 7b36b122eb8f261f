"""A search as its records left it: what `--resume` goes on from. Ray's state plays no part."""

from __future__ import annotations

from dataclasses import replace

from analysis.records import RUNNING, SweepRecords, TrialRecord
from search_spaces.distributions import contains
from search_spaces.space import Space
from trainable.trial import ConfigError, TrialConfig
from tune.search.search import Search
from tune.search.trials import ENDED, Progress


def rebuild(search: Search, records: SweepRecords) -> None:
    """Tells the search everything once, in the order in which it happened: trials, scores (and so
    the rungs), ends. Unfinished trials are queued, or wait at their rung as they did.
    A trial that had completed at a shorter length than the sweep's now goes on if the rung at its
    old end lets it."""
    records = replace(records, trials=tuple(_reopen(search, t) for t in records.trials))
    for record in records.trials:
        search.trials[record.id] = _restore_trial(search, record)
    heard = sorted((e.time_s, e.turns_seen, t.id) for t in records.trials for e in t.evals)
    scores = {(t.id, e.turns_seen): e.score for t in records.trials for e in t.evals}
    goes_on: dict[str, bool] = {}
    for _, turns_seen, trial_id in heard:
        trial = search.trials[trial_id]
        goes_on[trial_id] = search.hear(trial, turns_seen, scores[trial_id, turns_seen])
    for record in records.trials:
        _restore_state(search, search.trials[record.id], record, goes_on.get(record.id, True))
    is_same = is_space_of(records, search.space)
    search.is_exhausted = is_same and records.exhausted_at is not None


def _reopen(search: Search, record: TrialRecord) -> TrialRecord:
    """A trial of the sweep's former length that completed, or is under way, has its present one."""
    turns = search.config.train_turns
    is_short = record.config.get("train_turns", turns) < turns
    if record.is_base or record.state not in ("COMPLETE", RUNNING) or not is_short:
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


def _restore_state(search: Search, trial: Progress, record: TrialRecord, goes_on: bool) -> None:
    if record.state in ENDED:
        trial.state, trial.reason = record.state, record.reason
        search.rungs.drop(trial.id)
    elif not goes_on:  # its last report was recorded, what became of it was not
        search.settle(trial)
    # else it stays QUEUED: interrupted, it goes on from its last checkpoint


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
