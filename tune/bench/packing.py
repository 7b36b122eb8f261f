"""What packing is worth on this machine: `python -m tune.bench.packing --shape llama-7b`.

Random weights, NF4, LoRA of rank 64 on all linear layers. For each number of slots, the median
time in which every slot makes one optimizer step on the same number of tokens; and, in the same
run, peft alone as it is commonly used. Prints a Markdown table.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch

from trainable.command.outcome import Outcome, make_main, start_command
from trainable.command.parser import Parser
from trainable.corpus.encode import Window
from trainable.engine.device.memory import give_back_memory, peak_gib
from trainable.engine.pack import Pack
from trainable.engine.slots.data_order import DataOrder
from trainable.engine.slots.peft_format import shape_adapter
from trainable.engine.slots.slot import Slot
from trainable.engine.throughput import synchronise
from trainable.model.base import Base
from trainable.trial import TrialConfig
from tune.bench.profile import measure_shares
from tune.bench.random_models import SHAPES, as_base, build_model, make_windows

# peft as it is commonly used, and on the dequantised values, which the engine computes on
PEFT_WAYS = {"solo peft": "nf4", "solo peft, 16 bits": "dequantized"}
WARM_UP = 3  # steps: a recording is made on the way


def make_config(sequences: int) -> TrialConfig:
    return TrialConfig(
        double_quantisation=True, lora_rank=64, alpha_over_rank=0.25, rslora=False,
        lora_modules="all-linear", lora_dropout=0.0, learning_rate=2e-4, schedule="constant",
        warmup_turns=0, batch_turns=sequences, train_turns=10**6, weight_decay=0.0, clip_norm=0.3,
    )  # fmt: skip


def fill(pack: Pack, slots: int, windows: list[Window], trial: TrialConfig) -> list[Slot]:
    """Slots with a seed each that train on windows in place of a corpus."""
    assert trial.batch_turns is not None
    for number in range(len(pack.slots), slots):
        config = replace(trial, seed=number)
        order = DataOrder(windows, trial.batch_turns, seed=number)
        shape = shape_adapter(config, pack.paths, pack.model)
        pack.place(Slot(str(number), config, task=None, shape=shape, order=order))  # type: ignore[arg-type]
    return list(pack.slots.values())


def time_steps(step: Callable[[], None], device: torch.device, budget_s: float) -> float:
    """The median seconds of a step, after some to warm up."""
    for _ in range(WARM_UP):
        step()
    synchronise(device)
    started_s = time.perf_counter()
    times: list[float] = []
    while len(times) < 5 or (time.perf_counter() - started_s < budget_s and len(times) < 50):
        before_s = time.perf_counter()
        step()
        synchronise(device)
        times.append(time.perf_counter() - before_s)
    return statistics.median(times)


def solo_peft_step(model: Any, windows: list[Window], sequences: int) -> Callable[[], None]:
    """peft as it is commonly used: eager, whole logits, fused AdamW."""
    from peft import LoraConfig, get_peft_model

    targets = LoraConfig(r=64, lora_alpha=16, target_modules="all-linear", task_type="CAUSAL_LM")
    peft_model = get_peft_model(model, targets)
    device = model.device
    trained = [p for p in peft_model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=2e-4, fused=True)
    ids = torch.from_numpy(np.stack([w.ids for w in windows[:sequences]])).long().to(device)
    is_target = torch.from_numpy(np.stack([w.is_target for w in windows[:sequences]])).to(device)
    labels = ids.masked_fill(~is_target, -100)

    def step() -> None:
        with torch.autocast(device.type, model.dtype, enabled=device.type == "cuda"):
            loss = peft_model(input_ids=ids, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 0.3)
        optimizer.step()
        optimizer.zero_grad()

    return step


def measure(arguments: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """A row a case, as it is measured. `how`: the base's residency, then perhaps +uneven."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    for work in arguments.work:
        sequences, tokens = map(int, work.split("x"))
        vocabulary = SHAPES[arguments.shape]["vocab_size"]
        case = {"shape": arguments.shape, "work": work}
        for how, residency in PEFT_WAYS.items() if arguments.peft else ():
            forget(device)
            windows = make_windows(sequences, tokens, vocabulary, even=True)
            base = as_base(build_model(arguments.shape, device), residency)
            step = solo_peft_step(base.model, windows, sequences)
            step_s = time_steps(step, device, arguments.budget_s)
            yield case | describe(how, 1, step_s, sequences * tokens, device)
            del step, base
        for how in arguments.how:
            forget(device)
            windows = make_windows(sequences, tokens, vocabulary, even="uneven" not in how)
            base = as_base(build_model(arguments.shape, device), how.split("+")[0])
            pack = open_pack(base, arguments.slots)
            for slots in sorted(n for n in arguments.slots if n <= pack.bank.slots):
                step = partial(step_all, pack, fill(pack, slots, windows, make_config(sequences)))
                try:
                    step_s = time_steps(step, device, arguments.budget_s)
                except torch.OutOfMemoryError:
                    print(f"{how}: {slots} slots do not fit", flush=True)
                    break
                row = case | describe(how, slots, step_s, sequences * tokens, device)
                yield row | ({"shares": measure_shares(pack, step)} if arguments.shares else {})
            del pack, base, step


def open_pack(base: Base, slots: list[int]) -> Pack:
    """With a bank for as many of those slots as the memory takes."""
    try:
        return Pack(base, max(slots), 64)
    except torch.OutOfMemoryError:
        print(f"the rows of {max(slots)} slots do not fit", flush=True)
    forget(base.device)
    return open_pack(base, [n for n in slots if n < max(slots)])


def step_all(pack: Pack, slots: list[Slot]) -> None:
    """One optimizer step of every slot, in as many passes as it takes."""
    goals = {slot.key: slot.steps + 1 for slot in slots}  # some have joined later
    while behind := [slot for slot in slots if slot.steps < goals[slot.key]]:
        pack.train_pass(behind)


def describe(
    how: str, slots: int, step_s: float, tokens: int, device: torch.device
) -> dict[str, Any]:
    return {
        "how": how,
        "slots": slots,
        "step_ms": 1e3 * step_s,
        "trial_steps_per_s": slots / step_s,
        "tokens_per_s": slots * tokens / step_s,
        "peak_gib": peak_gib(device),
    }


def forget(device: torch.device) -> None:
    give_back_memory()
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    torch.compiler.reset()


def render(rows: list[dict[str, Any]]) -> str:
    lines = [
        "| shape | tokens a trial-step | how | slots | step [ms] | trial-steps/s | tokens/s "
        "| against solo peft | peak [GiB] |",
        "|---" * 9 + "|",
    ]
    solo = {r["work"]: r["trial_steps_per_s"] for r in rows if r["how"] == "solo peft"}
    for r in rows:
        ratio = r["trial_steps_per_s"] / solo[r["work"]] if r["work"] in solo else float("nan")
        lines.append(
            f"| {r['shape']} | {r['work']} | {r['how']} | {r['slots']} | {r['step_ms']:.1f} | "
            f"{r['trial_steps_per_s']:.1f} | {r['tokens_per_s']:,.0f} | {ratio:.1f}x | "
            f"{r['peak_gib']:.1f} |"
        )
    for r in (row for row in rows if "shares" in row):
        parts = ", ".join(f"{part} {100 * share:.0f} %" for part, share in r["shares"].items())
        lines.append(f"\n{r['work']}, {r['how']}, {r['slots']} slots: {parts}")
    return "\n".join(lines)


def measure_all(flags: argparse.Namespace) -> Outcome:
    """Prints a row as soon as it is measured, and the table."""
    rows = []
    for row in measure(flags):
        print(json.dumps(row), flush=True)
        rows.append(row)
    print(render(rows))
    return Outcome(facts={"rows": rows})


def build_parser() -> Parser:
    parser = Parser("tune.bench.packing", __doc__, name="bench.packing")
    parser.add_argument("--shape", choices=SHAPES, required=True, help="of the model")
    parser.add_argument("--work", nargs="+", default=["1x512", "4x256"], help="sequences x tokens")
    parser.add_argument(
        "--slots", nargs="+", type=int, default=[1, 4, 8, 16], help="trials on one base model"
    )
    parser.add_argument(
        "--how", nargs="+", default=["dequantized"], help="weights are held: nf4, dequantized, fp8"
    )
    parser.add_argument("--no-peft", dest="peft", action="store_false", help="not beside")
    parser.add_argument("--budget-s", type=float, default=3.0, help="for timing one case")
    parser.add_argument("--shares", action="store_true", help="where the time of a step goes")
    return parser


main = make_main(build_parser, measure_all)

if __name__ == "__main__":
    start_command(main)
