"""Belief states of the model's own: found turn by turn, before any reply is generated.

The prompt of a turn's state shows the states found for the turns before it, and, where the context
has them, the database's matches for those. Users' turns and earlier replies are the corpus's, as
in the policy setting: so all states come first, and then all replies, given them. Where earlier
replies are the model's own, too, states and replies take turns (`own_replies`).
"""

from collections.abc import Mapping

import numpy as np

from trainable.corpus.encode import Window
from trainable.corpus.prompt import parse_requests, parse_state
from trainable.dialogue.dialogue import Dialogue
from trainable.engine.decode.turn_by_turn import (
    Decode,
    Talk,
    change_turn,
    count_rounds,
    cut_prompt,
    encode_until,
    write_turn,
)
from trainable.engine.slots.task import Task
from trainable.trial import CONDITIONS, TrialConfig

STATE_TOKENS = 192  # more than the longest belief state of MultiWOZ


def to_greedy(config: TrialConfig) -> TrialConfig:
    """How states are decoded, whatever replies are: greedily, and free to repeat."""
    shaping = [name for decider, _, names in CONDITIONS if decider == "decoding" for name in names]
    shaping += ["decoding", "min_new_tokens", "placeholder_bias"]
    shaping += ["repetition_penalty", "no_repeat_ngram_size"]
    values = {name: v for name, v in config.to_dict().items() if name not in shaping}
    return TrialConfig.from_dict({**values, "max_new_tokens": STATE_TOKENS})


def predict_states(talks: Mapping[int, Talk], places: int, decode: Decode) -> None:
    """Puts the states that each place's model finds in the place of the corpus's."""
    for number in range(count_rounds(talks)):
        predict_turn_states(talks, number, places, decode)


def predict_turn_states(
    talks: Mapping[int, Talk], number: int, places: int, decode: Decode
) -> None:
    write_turn(talks, number, places, decode, state_window, lambda task, *at: put_state(*at))


def state_window(task: Task, dialogue: Dialogue, number: int) -> Window:
    """The prompt of the state of turn `number`, as far as the dialogue is known by then."""
    whole = encode_until(task, dialogue, number)
    # before the last reply's prompt lies the state, itself a target: the prompt ends in front of it
    is_target = whole.is_target[: whole.prompts[-1]]
    last_of_state = int(np.flatnonzero(is_target)[-1])
    others = np.flatnonzero(~is_target[:last_of_state])
    return cut_prompt(whole, int(others[-1]) + 1, number)


def put_state(dialogue: Dialogue, number: int, line: str) -> Dialogue:
    """The dialogue with the state and requests that the line spells at that turn."""
    return change_turn(dialogue, number, state=parse_state(line), requested=parse_requests(line))
