"""Where the time of a step goes: products, attention, norms, loss, optimizer, host."""

import time
from collections.abc import Callable, Iterator
from typing import Any

from torch.profiler import ProfilerActivity, profile, record_function

from trainable.engine.pack import Pack
from trainable.engine.throughput import synchronise

OPTIMIZER = "engine optimizer"
# how an event is called, or one that it happened in -> part
RANGES = {"TargetLoss": "loss", OPTIMIZER: "optimizer"}
# a word in an event's name -> part, the first that fits. An autograd Function's own time is that of
# the kernels that Triton makes for it; batched products are made for the adapters alone.
OPERATORS = {"bmm": "LoRA", "AddAdapters": "LoRA", "AddMagnified": "LoRA"}
OPERATORS |= dict.fromkeys(("scaled_dot_product", "flash", "varlen"), "attention")
OPERATORS |= dict.fromkeys(("::mm", "::addmm", "::_scaled_mm"), "frozen products")
OPERATORS |= dict.fromkeys(("Norm", "Gate", "Rotate"), "norms, gates and rotary")
REST = "the rest"
HOST = "host"  # a GPU that waits


def measure_shares(pack: Pack, step: Callable[[], None], steps: int = 3) -> dict[str, float]:
    """Part -> its share of the time of some steps, in [0, 1], all adding up to 1."""
    on_gpu = pack.device.type == "cuda"
    wall_us = 1e6 * run_steps(pack, step, steps)
    times_us = add_up(profile_steps(pack, step, steps), on_gpu=on_gpu)
    if on_gpu:
        times_us[HOST] = max(wall_us - sum(times_us.values()), 0.0)
    return {part: each / sum(times_us.values()) for part, each in times_us.items()}


def run_steps(pack: Pack, step: Callable[[], None], steps: int) -> float:
    """The seconds that they take."""
    synchronise(pack.device)
    started_s = time.perf_counter()
    for _ in range(steps):
        step()
    synchronise(pack.device)
    return time.perf_counter() - started_s


def profile_steps(pack: Pack, step: Callable[[], None], steps: int) -> Any:
    """The events of some steps, which launch each kernel by itself: a recording has no parts."""
    activities = [ProfilerActivity.CPU]
    activities += [ProfilerActivity.CUDA] if pack.device.type == "cuda" else []
    work, is_recorded = pack.optimizer.step, pack.train_together.is_recorded
    pack.optimizer.step = ranged(work)  # type: ignore[method-assign]
    pack.train_together.is_recorded = False
    with profile(activities=activities) as profiler:
        run_steps(pack, step, steps)
    pack.optimizer.step = work  # type: ignore[method-assign]
    pack.train_together.is_recorded = is_recorded
    return profiler.events() or ()


def ranged(work: Callable[..., Any]) -> Callable[..., Any]:
    def step(*arguments: Any) -> Any:
        with record_function(OPTIMIZER):
            return work(*arguments)

    return step


def add_up(events: Any, *, on_gpu: bool) -> dict[str, float]:
    """Microseconds of each part: of the device's kernels where there is one."""
    times_us = dict.fromkeys((*OPERATORS.values(), *RANGES.values(), REST), 0.0)
    for event in events:
        if event.device_type.name != "CPU":
            continue  # a kernel: counted with the operator that launched it
        own = event.self_device_time_total if on_gpu else event.self_cpu_time_total
        times_us[name_part(event)] += own
    return times_us


def name_part(event: Any) -> str:
    for name in list_names(event):
        for range_, part in RANGES.items():
            if name.startswith(range_):  # its way back is called so, too
                return part
    return next((part for word, part in OPERATORS.items() if word in event.name), REST)


def list_names(event: Any) -> Iterator[str]:
    """The event's name and those of what it happened in."""
    while event is not None:
        yield event.name
        event = event.cpu_parent
