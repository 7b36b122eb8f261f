"""How many trials share one engine: as asked, or as many as pay on this cluster's GPUs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from trainable.model.packable import is_toy, why_alone
from trainable.system.shortage import describe_shortage, is_out_of_memory
from trainable.trial import CannotPack, ConfigError, TrialConfig, TrialFailed
from trainable.worker.lease import NodeFault
from trainable.worker.node import Unfit, find_fault

if TYPE_CHECKING:
    from tune.workers.best_slots import BestSlots

UNMEASURED_SLOTS = 8  # where nothing is trained whose speed could be measured


def choose_slots(
    pack: str,
    configs: Sequence[TrialConfig],
    *,
    on_gpus: bool,
    bases: int,
    measure: Callable[[TrialConfig], BestSlots],
) -> tuple[int, str]:
    """(trials on one engine, why): 1 runs each trial alone in its process. `bases` engines share
    a GPU. On the CPU a pack gains nothing: a process a core reads more tokens a second."""
    if reason := find_obstacle(configs):
        return 1, reason
    if pack != "auto":
        return int(pack), "--pack"
    if not on_gpus:
        return 1, "there is no GPU"
    trained = [c for c in configs if c.method == "lora" and not is_toy(c)]
    if not trained:
        return UNMEASURED_SLOTS, "there is a GPU"
    try:
        best = measure(trained[0])
    except TrialFailed as error:
        return 1, f"not one trial fits an engine here: {error}"
    except CannotPack as error:
        return 1, str(error)
    return max(1, min(best.slots, best.fitting // bases)), best.describe()


def find_obstacle(configs: Iterable[TrialConfig]) -> str | None:
    """Why engines cannot hold all of these; None: they can."""
    return next((why for c in configs if (why := why_alone(c)) is not None), None)


def find_misfit(config: TrialConfig, slots: int, configs: Iterable[TrialConfig]) -> str | None:
    """Why workers that were chosen for `configs` cannot carry out another; None: they can."""
    from tune.workers.pool import base_of

    if slots == 1:
        return None
    is_held = base_of(config) in {base_of(c) for c in configs}
    return why_alone(config) or (None if is_held else "no engine holds its base model")


def measure_on_gpu(config: TrialConfig, max_rank: int) -> BestSlots:
    """The best of trials like this one on a GPU of the cluster, in a process that ends with it.
    Raises TrialFailed where there is no memory for one, ConfigError where there is no model, or no
    node that is not at fault."""
    import ray

    from tune.workers.shares import avoid, read_nodes

    task = ray.remote(num_gpus=1, max_calls=1)(find_best_slots_here)
    faults: dict[str, NodeFault] = {}
    while True:
        if faults and not any(n.gpus and n.id not in faults for n in read_nodes()):
            why = "; ".join(f"{fault.name}: {fault.reason}" for fault in faults.values())
            raise ConfigError(f"no node is left: {why}")
        try:
            best: BestSlots = ray.get(task.options(**avoid(faults)).remote(config, max_rank))
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, Unfit):
                faults[error.cause.fault.node] = error.cause.fault
                continue
            if isinstance(error.cause, ConfigError | TrialFailed):
                raise type(error.cause)(str(error.cause)) from None
            raise
        return best


def find_best_slots_here(config: TrialConfig, max_rank: int) -> BestSlots:
    from trainable.model.base import BaseSpec
    from tune.workers.best_slots import find_best_slots

    try:
        return find_best_slots(BaseSpec.of(config), config, max_rank)
    except Exception as error:
        if fault := find_fault(error):
            raise Unfit(fault) from None
        if not is_out_of_memory(error):
            raise
        raise TrialFailed(describe_shortage(error)) from None
