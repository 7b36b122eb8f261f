"""Replies after the model's own earlier ones, as a served model makes them: turn by turn.

The prompt of a turn shows the model's replies to the turns before it, where the others show the
corpus's. Users' turns stay the corpus's, and so do belief states, unless the model finds those
itself: then each turn's state comes first, and its reply after it.
"""

from collections.abc import Mapping

from trainable.corpus.encode import Window
from trainable.corpus.prompt import finds_state, split_plan
from trainable.dialogue.dialogue import Dialogue
from trainable.engine.decode.belief_states import predict_turn_states
from trainable.engine.decode.decode import SlotOutput
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
from trainable.trial import TrialConfig


def follows_own(config: TrialConfig) -> bool:
    """Whether a prompt shows the model's own earlier replies."""
    return config.earlier_replies == "own"


def reply_in_turn(
    talks: Mapping[int, Talk], places: int, decode: Decode, decode_states: Decode
) -> list[SlotOutput]:
    """What each place's model replies; that, and the states that it finds, are put into the
    dialogues."""
    made = [SlotOutput() for _ in range(places)]
    finding = {place: talk for place, talk in talks.items() if finds_state(talk.task.config)}
    for number in range(count_rounds(talks)):
        if finding:
            predict_turn_states(finding, number, places, decode_states)
        shares = write_turn(talks, number, places, decode, reply_window, put_reply)
        for whole, share in zip(made, shares, strict=True):
            whole.add(share)
    return made


def reply_window(task: Task, dialogue: Dialogue, number: int) -> Window:
    """The prompt of the reply to turn `number`."""
    whole = encode_until(task, dialogue, number)
    return cut_prompt(whole, whole.prompts[-1], number)


def put_reply(task: Task, dialogue: Dialogue, number: int, text: str) -> Dialogue:
    """The dialogue with what the model wrote as its reply to that turn. A plan of acts is kept; one
    of placeholders is spelt anew from those of `delexicalised`: of a lexicalised reply, from those
    of its plan."""
    plan, reply = split_plan(text, task.config)
    if task.config.response == "delexicalised":
        return change_turn(dialogue, number, delexicalised=reply, acts=plan)
    return change_turn(dialogue, number, response=reply, delexicalised=text, acts=plan)
