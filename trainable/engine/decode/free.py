"""Whole dialogues of the model's own, users' turns too: sampled from nothing but the first `user>`.

A model is trained on the system's side alone: what it makes of users is the base model's.
"""

import math
from dataclasses import dataclass, replace

import numpy as np

from trainable.corpus.encode import Window
from trainable.engine.decode.belief_states import to_greedy
from trainable.engine.decode.chunks import Decodable, decode_chunks
from trainable.engine.slots.slot import Slot
from trainable.trial import ConfigError, Setting

EXCHANGE_TOKENS = 160


@dataclass(frozen=True, kw_only=True)
class FreeDialogues:
    dialogues: tuple[tuple[str, ...], ...]  # of each, its exchanges as they were written
    replies: tuple[str, ...]  # what stands behind `bot>` in them
    perplexity: float  # of the model on its own tokens


def write_dialogues(pack: Decodable, slot: Slot, n_dialogues: int, n_turns: int) -> FreeDialogues:
    """Sampled with temperature 1 and top_p 0.9; a dialogue that fills the window ends there.
    Raises ConfigError under layout=chat."""
    if slot.config.layout == "chat":
        raise ConfigError(
            "whole dialogues are written in lines, by the model that writes the user too: give ",
            Setting("layout", "lines"),
        )
    pack.gather([slot])
    config = replace(
        to_greedy(slot.config),
        decoding="sampling",
        temperature=1.0,
        top_p=0.9,
        max_new_tokens=EXCHANGE_TOKENS,
    )
    task, room = slot.task, slot.config.max_length_tokens - EXCHANGE_TOKENS
    instruction = f"{slot.config.instruction}\n" if slot.config.instruction else ""
    first, following = task.tokenise([f"{instruction}user>", "\nuser>"])
    ids = [[*task.special.prefix, *first] for _ in range(n_dialogues)]
    made = [[False] * len(line) for line in ids]
    texts: list[list[str]] = [[] for _ in ids]
    for turn in range(n_turns):
        going = [n for n, line in enumerate(ids) if len(line) < room]
        if not going:
            break
        windows = [open_window(str(n), ids[n], turn) for n in going]
        (share,) = decode_chunks(pack, [windows], [config], [0], [task.special.eos])
        for n in going:
            written = [*share.replies[str(n), turn], task.special.eos]
            texts[n].append(task.decode(written))
            ids[n] += [*written, *following]
            made[n] += [True] * len(written) + [False] * len(following)
    whole = [close_window(str(n), ids[n], made[n]) for n in range(n_dialogues)]
    (share,) = decode_chunks(pack, [whole], [config], [0], [task.special.eos])
    pack.adapters.invalidate()
    return FreeDialogues(
        dialogues=tuple(map(tuple, texts)),
        replies=tuple(t.partition("bot>")[2].strip() for lines in texts for t in lines),
        perplexity=math.exp(share.nats / max(share.targets, 1)),
    )


def open_window(name: str, ids: list[int], turn: int) -> Window:
    untargeted = np.zeros(len(ids), dtype=np.bool_)
    return Window(name, np.array(ids, dtype=np.int32), untargeted, (turn,), (len(ids),))


def close_window(name: str, ids: list[int], made: list[bool]) -> Window:
    return Window(name, np.array(ids, dtype=np.int32), np.array(made, dtype=np.bool_), (), ())
