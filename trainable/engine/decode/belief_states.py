"""Belief states of the model's own: found turn by turn, before any reply is generated.

The prompt of a turn's state shows the states found for the turns before it, and, where the context
has them, the database's matches for those. Users' turns and earlier replies are the corpus's, as
in the policy setting: so all states come first, and then all replies, given them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from trainable.corpus.encode import Window
from trainable.corpus.prompt import parse_requests, parse_state
from trainable.dialogue.dialogue import Dialogue
from trainable.engine.decode.decode import SlotOutput
from trainable.engine.slots.task import Task
from trainable.trial import CONDITIONS, TrialConfig

STATE_TOKENS = 192  # more than the longest belief state of MultiWOZ
# windows of each place -> what was generated
Decode = Callable[[list[list[Window]]], list[SlotOutput]]


def to_greedy(config: TrialConfig) -> TrialConfig:
    """How states are decoded, whatever replies are: greedily, and free to repeat."""
    shaping = [name for decider, _, names in CONDITIONS if decider == "decoding" for name in names]
    shaping += ["decoding", "min_new_tokens", "placeholder_bias"]
    shaping += ["repetition_penalty", "no_repeat_ngram_size"]
    values = {name: v for name, v in config.to_dict().items() if name not in shaping}
    return TrialConfig.from_dict({**values, "max_new_tokens": STATE_TOKENS})


def predict_states(
    asked: Mapping[int, tuple[Task, Sequence[Dialogue]]], places: int, decode: Decode
) -> dict[int, list[Dialogue]]:
    """The dialogues of each place asked for, with the states that its model finds in the place of
    the corpus's. All places go on together, turn by turn."""
    found = {place: list(dialogues) for place, (_, dialogues) in asked.items()}
    longest = max(len(d.turns) for dialogues in found.values() for d in dialogues)
    for number in range(longest):
        windows: list[list[Window]] = [[] for _ in range(places)]
        for place, dialogues in found.items():
            going = (d for d in dialogues if len(d.turns) > number)
            windows[place] = [state_window(asked[place][0], d, number) for d in going]
        shares = decode(windows)
        for place, dialogues in found.items():
            task, replies = asked[place][0], shares[place].replies
            for i, dialogue in enumerate(dialogues):
                if (tokens := replies.get((dialogue.id, number))) is not None:
                    dialogues[i] = put_state(dialogue, number, task.decode(tokens))
    return found


def state_window(task: Task, dialogue: Dialogue, number: int) -> Window:
    """The prompt of the state of turn `number`, as far as the dialogue is known by then."""
    known = replace(dialogue, turns=dialogue.turns[: number + 1])
    whole = task.encode_whole((known,))[-1]
    # before the last reply's prompt lies the state, itself a target: the prompt ends in front of it
    end = whole.prompts[-1]
    is_target = whole.is_target[:end]
    last_of_state = int(np.flatnonzero(is_target)[-1])
    others = np.flatnonzero(~is_target[:last_of_state])
    start = int(others[-1]) + 1
    return Window(
        dialogue.id, whole.ids[:start], np.zeros(start, dtype=np.bool_), (number,), (start,)
    )


def put_state(dialogue: Dialogue, number: int, line: str) -> Dialogue:
    """The dialogue with the state and requests that the line spells at that turn."""
    turns = list(dialogue.turns)
    found = parse_state(line)
    turns[number] = replace(turns[number], state=found, requested=parse_requests(line))
    return replace(dialogue, turns=tuple(turns))
