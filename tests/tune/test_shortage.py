"""Memory that is short fails the trial that asked for it, with the peak; nothing is tried again."""

import asyncio
import sys
from pathlib import Path

import numpy as np
import pytest
import ray
from inline import make_config, open_search
from ray import cloudpickle

from analysis.records import read_sweep
from trainable.system.shortage import describe_shortage, is_out_of_memory
from trainable.trial import TrialConfig
from trainable.worker import engine_actor, entry
from trainable.worker.engine_actor import EngineActor
from trainable.worker.entry import DialogueTrial
from tune.search.proposals import propose
from tune.search.trials import view
from tune.workers.pool import Pool


class OutOfMemoryError(RuntimeError):
    """Called as torch's."""


def run_out(*_: object, **__: object) -> None:
    raise OutOfMemoryError(
        "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has a total capacity of 79.10 GiB"
    )


def test_shortages_are_known_and_described_in_a_line() -> None:
    with pytest.raises(Exception, match="allocate") as caught:
        np.zeros(2**55)
    assert is_out_of_memory(caught.value)
    assert is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"))
    assert not is_out_of_memory(RuntimeError("shape mismatch"))
    text = describe_shortage(OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"))
    assert text.startswith("out of memory at ") and text.endswith(" GiB: CUDA out of memory")


@pytest.mark.usefixtures("local_ray")
def test_a_trial_alone_that_runs_out_fails_once_and_is_infeasible_to_the_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, space = make_config(tmp_path, trials=2, baseline=False)
    search, _ = open_search(config, space)
    monkeypatch.setattr(entry, "open_finetuner", run_out)
    report = DialogueTrial({"lease": search.lease()}).step()["report"]
    assert report.failure is not None and " GiB: CUDA out of memory" in report.failure
    assert not search.report(report)
    (failed,) = read_sweep(config.folder).searched
    assert failed.state == "FAIL" and failed.reason == report.failure
    assert view(search.trials["0000"]).infeasible
    assert propose(space, [view(search.trials["0000"])], 0, 1) != dict(failed.params)


@pytest.mark.usefixtures("local_ray")
def test_an_engine_that_cannot_hold_its_base_fails_the_trials_not_the_machinery(
    tmp_path: Path,
) -> None:
    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # the actor cannot import tests

    class Heavy(EngineActor):
        def __init__(self, config: TrialConfig, avoided: object, slots: int) -> None:
            engine_actor.open_engine = run_out  # in the actor's process alone
            super().__init__(config, slots, 8)

    config, space = make_config(tmp_path, trials=1)
    trial = space.to_config(space.first[0], config.base)
    engines = Pool(ray.remote(Heavy).options(num_cpus=0).remote, slots=2, capacity=lambda _: 1)
    with pytest.raises(entry.TrialFailed, match="while the base model was loaded") as caught:
        asyncio.run(engines.lease("0000", trial))
    assert type(caught.value) is entry.TrialFailed  # itself, not wrapped
    assert not engines.handles  # a smaller one may come
