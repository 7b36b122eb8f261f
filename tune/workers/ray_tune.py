"""Ray Tune's loop: one Ray trial a lease, until the searcher says that it is finished."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Mapping
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from tune.workers.shares import avoid


def run_ray_tune(
    adapters: tuple[Any, ...], share: Mapping[str, float], folder: Path | None = None
) -> None:
    """Runs Ray Tune with a searcher, a scheduler and callbacks, until the searcher says that it
    is finished. What it writes goes below the folder, and is removed."""
    from ray import tune as ray_tune

    from trainable.worker.entry import DialogueTrial

    searcher, scheduler, *callbacks = adapters
    with tempfile.TemporaryDirectory(prefix="sweep-", dir=folder) as scratch, keep_keys():
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


@contextlib.contextmanager
def keep_keys() -> Iterator[None]:
    """Inside the block Ray Tune hands no key of this environment to its workers, for whatever it
    hands over is in Ray's logs in clear text: they have those that their node was started with."""
    from ray.tune.execution import class_cache

    before = class_cache.ENV_VARS_TO_PROPAGATE
    class_cache.ENV_VARS_TO_PROPAGATE = {n for n in before if not n.startswith("AWS_")}
    try:
        yield
    finally:
        class_cache.ENV_VARS_TO_PROPAGATE = before


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
