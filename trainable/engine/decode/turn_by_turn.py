"""What models write turn by turn, put into their dialogues: the prompt of a turn shows what was
written at those before it. All places (slots, or a trial alone) go on together."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from trainable.corpus.encode import Window
from trainable.dialogue.dialogue import Dialogue
from trainable.engine.decode.decode import SlotOutput
from trainable.engine.slots.task import Task

# windows of each place -> what was generated
Decode = Callable[[list[list[Window]]], Sequence[SlotOutput]]


@dataclass
class Talk:
    """A place's dialogues, with what its model has written so far."""

    task: Task
    dialogues: list[Dialogue]


def count_rounds(talks: Mapping[int, Talk]) -> int:
    """Turns of the longest dialogue."""
    return max((len(d.turns) for talk in talks.values() for d in talk.dialogues), default=0)


def write_turn(
    talks: Mapping[int, Talk],
    number: int,
    places: int,
    decode: Decode,
    make_window: Callable[[Task, Dialogue, int], Window],
    put: Callable[[Task, Dialogue, int, str], Dialogue],
) -> Sequence[SlotOutput]:
    """One round: what the models write at turn `number` of all dialogues that have it."""
    windows: list[list[Window]] = [[] for _ in range(places)]
    for place, talk in talks.items():
        going = (d for d in talk.dialogues if len(d.turns) > number)
        windows[place] = [make_window(talk.task, d, number) for d in going]
    shares = decode(windows)
    for place, talk in talks.items():
        written = shares[place].replies
        for i, dialogue in enumerate(talk.dialogues):
            if (tokens := written.get((dialogue.id, number))) is not None:
                text = talk.task.decode(tokens)
                talk.dialogues[i] = put(talk.task, dialogue, number, text)
    return shares


def encode_until(task: Task, dialogue: Dialogue, number: int) -> Window:
    """The dialogue as it is known at turn `number`, up to its reply."""
    return task.encode_last(replace(dialogue, turns=dialogue.turns[: number + 1]))


def cut_prompt(window: Window, end: int, number: int) -> Window:
    """The tokens in front of what is to be written at turn `number`; nothing is learnt."""
    nothing = np.zeros(end, dtype=np.bool_)
    return Window(window.dialogue_id, window.ids[:end], nothing, (number,), (end,))


def change_turn(dialogue: Dialogue, number: int, **changes: Any) -> Dialogue:
    turns = list(dialogue.turns)
    turns[number] = replace(turns[number], **changes)
    return replace(dialogue, turns=tuple(turns))
