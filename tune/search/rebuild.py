"""A search as its records left it: what `--resume` goes on from. Ray's state plays no part."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from analysis.ledger import MOST_NUMBERS
from analysis.records import RUNNING, SweepRecords, TrialRecord
from search_spaces.distributions import contains
from search_spaces.space import Space
from trainable.system.inside import is_trial_id
from trainable.trial import ConfigError, TrialConfig
from tune.search.config import SweepConfig
from tune.search.search import Search
from tune.search.trials import ENDED, Progress


def rebuild(search: Search, records: SweepRecords) -> None:
    """Tells the search everything once, in the order in which it happened: trials, scores (and so
    the rungs), ends. Unfinished trials are queued, or wait at their rung as they did.
    A trial that had completed at a shorter length than the sweep's now goes on if the rung at its
    old end lets it."""
    records = replace(records, trials=tuple(_reopen(search, t) for t in records.trials))
    for record in records.trials:
        search.add(_restore_trial(search, record))
    _retell(search, records)
    known = {(d.turns, d.trials) for d in records.decisions}
    judged = search.race.judged
    search.race.judged = [j for j in judged if (j.milestone, j.trials) not in known]
    search.record_rungs()
    for trial in list(search.trials.values()):
        _settle(search, trial)
    search.park()
    search.n_numbers = max(records.n_numbers, _count_folders(records.folder))
    is_same = Space.from_dict(records.space) == search.space
    search.is_exhausted = is_same and records.exhausted_at is not None
    if records.exhausted_at is not None and not is_same:
        note = "the space is another: there may be points left"
        search.recorder.record_note(note, exhausted_at=None)


def _count_folders(folder: Path) -> int:
    """One above the highest number that a folder of a trial has."""
    places = (*(folder / "checkpoints").glob("[0-9]*"), *(folder / "trials").glob("[0-9]*"))
    numbers = [int(p.name) for p in places if is_trial_id(p.name)]
    return max((n + 1 for n in numbers if n < MOST_NUMBERS), default=0)


def _retell(search: Search, records: SweepRecords) -> None:
    """All scores and ends, in the order of the file."""
    evals = {(t.id, e.turns_seen): e for t in records.trials for e in t.evals}
    known = {t.id: t for t in records.trials}
    for kind, name, turns in records.order:
        if kind == "eval":
            search.hear(search.trials[name], evals[name, turns])
        elif kind == "end" and known[name].state in ENDED:
            _end(search, search.trials[name], known[name].state, known[name].reason)


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
    search.recorder.record_trial(
        record.id, record.number, record.params, config, record.origin, record.proposal
    )
    return replace(record, config=config.to_dict(), state=RUNNING, reason=None)


def _restore_trial(search: Search, record: TrialRecord) -> Progress:
    config = TrialConfig.from_dict(record.config)
    is_outside = record.is_base or (record.origin and not record.origin["in_study"])
    params = dict(record.params) if is_outside else search.space.to_point(config)
    trial = Progress(record.id, record.number, params, config)
    trial.origin, trial.proposal = record.origin, record.proposal
    trial.is_inside = bool(is_outside) or search.space.holds(params)
    trial.is_resolved = record.resolved is not None
    return trial


def _settle(search: Search, trial: Progress) -> None:
    """What a trial that has not ended becomes: its last report was recorded, what became of it was
    not. One that has work to do stays QUEUED: interrupted, it goes on from its last checkpoint."""
    if trial.state in ENDED or not trial.scores:
        return
    if search.is_at_end(trial) or not search.race.goes_on(trial):
        search.settle(trial)


def read_settings(records: SweepRecords) -> tuple[SweepConfig, Space]:
    """The sweep's settings and space, as its folder tells them and where that lies now. Raises
    ConfigError where somebody has edited them into none."""
    where = {"storage": str(records.folder.parent.absolute()), "name": records.folder.name}
    try:
        config = SweepConfig.from_dict({**records.config, **where})
        return config, Space.from_dict(records.space)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        why = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise ConfigError(
            f"{records.folder / 'sweep.json'} cannot be read ({why}): restore it from a copy"
        ) from error


def check_configs(records: SweepRecords) -> None:
    """Raises ConfigError where a trial's line spells no config."""
    for trial in records.trials:
        try:
            TrialConfig.from_dict(trial.config)
        except ConfigError as error:
            raise ConfigError(
                f"trial {trial.id} of {records.folder} cannot be read ({error}): restore its line "
                "in evals.jsonl, or take it out"
            ) from error


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
