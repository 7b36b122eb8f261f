"""The largest model that fits a card of so many GB: shapes with random weights, held in NF4 and not
dequantised, on a GPU whose memory is limited to that card's."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from trainable.engine.device.memory import give_back_memory
from trainable.engine.pack import Pack
from trainable.engine.throughput import fits, fits_batch, train_within_memory
from trainable.model.gpu_memory import GIB, limit_memory
from trainable.trial import ConfigError, TrialConfig
from tune.bench.packing import fill
from tune.bench.random_models import SHAPES, as_base, build_model, make_windows

CARDS_GB = (16, 24, 40, 80, 141)
KNOWN = (  # from small to large
    *("smollm2-135m", "pythia-1.4b", "pythia-2.8b", "llama-7b", "pythia-12b", "llama-13b"),
    *("llama-30b", "llama-65b"),
)
KEPT_GIB = 0.9  # of a card, by itself and by CUDA: a T4 of 16 GB leaves torch 14.0 GiB
STEPS = 3  # of training: the third pass is a recording
REPLIES, PROMPT_TOKENS = 64, 256

Fits = Callable[[str, float], bool]  # a shape, a card's GB


def measure_cards(config: TrialConfig, device: torch.device) -> dict[str, Any]:
    """For each card and task the largest shape that fits. Raises ConfigError without a GPU."""
    if device.type != "cuda":
        raise ConfigError("--largest-model without names limits a GPU's memory, and there is none")
    total = torch.cuda.mem_get_info(device)[1]
    cards = [gb for gb in CARDS_GB if torch_gib(gb) * GIB <= total]
    rows: dict[float, dict[str, Any]] = {gb: {"card [GB]": gb} for gb in cards}
    for task, work in TASKS.items():

        def is_possible(shape: str, gb: float, work: Work = work) -> bool:
            return fits_card(shape, gb, config, device, work)

        for gb, shape in find_largest_shapes(cards, KNOWN, is_possible).items():
            rows[gb][task] = shape
            print(f"{task}, {gb} GB: {shape or 'none'}", file=sys.stderr, flush=True)
    limit_memory(device, total / GIB)
    held = {"rank": config.lora_rank, "dialogue_tokens": config.max_length_tokens}
    return {"cards": list(rows.values()), **held, "GPU model": torch.cuda.get_device_name(device)}


def find_largest_shapes(
    cards: Sequence[float], shapes: Sequence[str], is_possible: Fits
) -> dict[float, str | None]:
    """Of each card; both come from small to large, so that no pair is tried twice.

    >>> find_largest_shapes((1, 5, 9), ("1", "3", "4", "20"), lambda shape, gb: int(shape) < gb)
    {1: None, 5: '4', 9: '4'}
    """
    place, largest = 0, {}
    for gb in cards:
        while place < len(shapes) and is_possible(shapes[place], gb):
            place += 1
        largest[gb] = shapes[place - 1] if place else None
    return largest


def fits_card(shape: str, gb: float, config: TrialConfig, device: torch.device, work: Work) -> bool:
    """Whether the model is built, and the work done, within a card's memory."""
    give_back_memory()
    limit_memory(device, torch_gib(gb))
    return fits(lambda: work(shape, config, device))


def torch_gib(gb: float) -> float:
    """What torch may take of a card that is sold as so many GB.

    >>> round(torch_gib(16), 1)
    14.0
    """
    return gb * 1e9 / GIB - KEPT_GIB


def open_pack(shape: str, config: TrialConfig, device: torch.device, slots: int) -> Pack:
    """Slots that train on dialogues as long as any may be, one a step."""
    base = as_base(build_model(shape, device, config.compute), "nf4")
    pack = Pack(base, slots, config.lora_rank or 1, dialogue_tokens=config.max_length_tokens)
    tokens, vocabulary = config.max_length_tokens, SHAPES[shape]["vocab_size"]
    windows = make_windows(1, tokens, vocabulary, even=True)
    fill(pack, slots, windows, replace(config, batch_turns=1))
    return pack


def train(slots: int, shape: str, config: TrialConfig, device: torch.device) -> None:
    pack = open_pack(shape, config, device, slots)
    while waiting := [slot for slot in pack.slots.values() if slot.steps < STEPS]:
        train_within_memory(pack, waiting)


def reply(shape: str, config: TrialConfig, device: torch.device) -> None:
    pack = open_pack(shape, config, device, slots=1)
    if not fits_batch(pack, REPLIES, PROMPT_TOKENS, config.max_new_tokens):
        raise torch.OutOfMemoryError("the replies do not fit")


Work = Callable[[str, TrialConfig, torch.device], None]
TASKS: dict[str, Work] = {
    "trains one adapter": partial(train, 1),
    "trains eight": partial(train, 8),
    f"{REPLIES} replies at once": reply,
}


def render_cards(found: dict[str, Any]) -> str:
    titles = ("card [GB]", *TASKS)
    cells = [[str(row[title] or "none") for title in titles] for row in found["cards"]]
    table = [titles, ("---",) * len(titles), *cells]
    return (
        "\n".join("| " + " | ".join(line) + " |" for line in table)
        + f"\n\nThe largest of {', '.join(KNOWN)}: random weights in NF4, held so; LoRA of rank "
        f"{found['rank']} on all linear layers, dialogues of {found['dialogue_tokens']} tokens. "
        f"Measured on one {found['GPU model']} whose memory was limited to each card's, less "
        f"{KEPT_GIB} GiB."
    )
