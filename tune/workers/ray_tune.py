"""Ray Tune's loop: one Ray trial a lease, until the searcher says that it is finished."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from trainable.system.replaced import replaced
from tune.workers.shares import avoid


def run_ray_tune(
    adapters: tuple[Any, ...], share: Mapping[str, float], folder: Path | None = None
) -> None:
    """Runs Ray Tune with a searcher, a scheduler and callbacks, until the searcher says that it
    is finished. What it writes goes below the folder, and is removed."""
    from ray import tune as ray_tune

    from trainable.worker.entry import DialogueTrial

    searcher, scheduler, *callbacks = adapters
    with (
        tempfile.TemporaryDirectory(prefix="sweep-", dir=folder) as scratch,
        keep_variables(is_own=folder is not None),
        keep_uncounted(),
        keep_starting(),
        keep_idle(),
    ):
        ray_tune.Tuner(
            ray_tune.with_resources(DialogueTrial, partial(_ask, share)),
            tune_config=ray_tune.TuneConfig(
                search_alg=searcher,
                scheduler=scheduler,
                num_samples=-1,  # until the searcher ends it
                reuse_actors=True,
                trial_name_creator=_name_lease,
                trial_dirname_creator=_name_folder,
            ),
            run_config=ray_tune.RunConfig(
                name="leases",
                storage_path=scratch,
                verbose=0,
                callbacks=callbacks,
                checkpoint_config=ray_tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        ).fit()


def keep_variables(is_own: bool) -> AbstractContextManager[None]:
    """Inside the block Ray Tune hands no key of this environment to its workers, for whatever it
    hands over is in Ray's logs in clear text: they have those that their node was started with.
    Those of a Ray of our own (`is_own`) have them all, and are handed none: a worker with variables
    of its own is none of the processes that Ray has ready, but a new one that imports Ray twice."""
    from ray.tune.execution import class_cache

    if is_own:
        return replaced(class_cache, DEFAULT_ENV_VARS={}, ENV_VARS_TO_PROPAGATE=())
    names = {n for n in class_cache.ENV_VARS_TO_PROPAGATE if not n.startswith("AWS_")}
    return replaced(class_cache, ENV_VARS_TO_PROPAGATE=names)


def keep_uncounted() -> AbstractContextManager[None]:
    """Inside the block Ray Tune does not look whose callbacks it is given: to know those of
    trackers it imports each that is installed, seconds, for statistics that are off."""
    from ray.air._internal import usage

    return replaced(usage, tag_callbacks=lambda callbacks: None)


def keep_starting() -> AbstractContextManager[None]:
    """Inside the block the worker of a trial that has ended goes to a trial for which none is
    starting yet. Ray Tune would give it to one that waits for its own, and throw that one away:
    where trials end more often than processes start, the room would never be filled."""
    from ray.tune.execution.tune_controller import TuneController

    controller: Any = TuneController
    reuse = controller._maybe_reuse_cached_actor

    def reuse_unless_starting(self: Any, trial: Any) -> bool:
        has_own, others = trial in self._trial_to_actor, self._pending_trials
        if has_own and any(other not in self._trial_to_actor for other in others):
            return False
        return bool(reuse(self, trial))

    return replaced(controller, _maybe_reuse_cached_actor=reuse_unless_starting)


def keep_idle() -> AbstractContextManager[None]:
    """Inside the block workers that have no trial are kept while none is wanted. Ray Tune keeps
    one of them: a search that has nothing to do for two would start the second again, which takes
    seconds. Where one of another kind is wanted they go, as they did."""
    from ray.tune.utils.object_cache import _ObjectCache

    cache: Any = _ObjectCache
    keep, flush = cache.cache_object, cache.flush_cached_objects

    def is_any_wanted(self: Any) -> bool:
        return any(self._max_num_objects.values())

    def keep_unless_wanted(self: Any, key: Any, worker: Any) -> bool:
        if is_any_wanted(self):
            return bool(keep(self, key, worker))
        self._cached_objects[key].append(worker)
        self._num_cached_objects += 1
        return True

    def flush_where_wanted(self: Any, force_all: bool = False) -> Iterator[Any]:
        if force_all or is_any_wanted(self):
            yield from flush(self, force_all)

    return replaced(cache, cache_object=keep_unless_wanted, flush_cached_objects=flush_where_wanted)


def _ask(share: Mapping[str, float], config: Mapping[str, Any]) -> Any:
    """What Ray is asked for, for one lease."""
    return _ask_for(tuple(share.items()), config["lease"].avoided)


@lru_cache(maxsize=64)  # one for all leases alike, since Ray keeps each trial's
def _ask_for(share: tuple[tuple[str, float], ...], avoided: tuple[str, ...]) -> Any:
    from ray.tune import PlacementGroupFactory

    bundle = {name.upper(): amount for name, amount in share}
    others = [*avoid(avoided).values()] or None
    return PlacementGroupFactory([bundle], bundle_label_selector=others)


def _name_lease(trial: Any) -> str:
    return f"{trial.config['lease'].trial}-{trial.trial_id}"


def _name_folder(trial: Any) -> str:
    return str(trial.trial_id)
