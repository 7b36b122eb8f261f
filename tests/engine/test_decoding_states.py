"""End to end: states found turn by turn, then replies given them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_trials import make_config, make_spec

from trainable.corpus.prompt import parse_state
from trainable.dialogue.dialogue import Dialogue, Turn
from trainable.engine.decode.belief_states import put_state, state_window
from trainable.engine.engine import Engine
from trainable.engine.pack import Pack
from trainable.evaluation.validation import Generated, score
from trainable.model.base import load_base
from trainable.model.source import EMBEDDED_FOLDER
from trainable.result import ValidationRequest

TRACKING: dict[str, Any] = {"target": "state+response", "context": "history+state+db"}


def test_a_state_is_asked_for_before_anything_tells_it(bases: dict[str, Path]) -> None:
    pack = Pack(load_base(make_spec(bases["llama"])), 1, max_rank=4, pass_tokens=2048)
    pack.join("a", make_config(bases["llama"], **TRACKING), None)
    task = pack.slots["a"].task
    dialogue = task.dialogues("validation", 1)[0]
    for number in range(len(dialogue.turns)):
        window = state_window(task, dialogue, number)
        text = task.tokenizer.decode(window.ids.tolist())
        assert text.endswith(f"user> {dialogue.turns[number].user}\nstate>")
        assert text.count("state>") == number + 1
        assert window.prompts == (len(window.ids),) and not len(window.targets)


@pytest.mark.slow
def test_replies_are_given_the_states_found(bases: dict[str, Path]) -> None:
    """Each state and each reply is what `generate` makes of the very prompt, turn by turn."""
    torch.set_num_threads(1)
    base = load_base(make_spec(EMBEDDED_FOLDER))
    pack = Pack(load_base(make_spec(EMBEDDED_FOLDER)), 2, max_rank=4, pass_tokens=2048)
    pack.join("end", make_config(EMBEDDED_FOLDER, **TRACKING), None)
    pack.join("policy", make_config(EMBEDDED_FOLDER, context="history+state"), None)
    slots = [pack.slots["end"], pack.slots["policy"]]
    made = pack.generate([(slot, ValidationRequest(2)) for slot in slots])
    assert all("state" not in turn for turns in made["policy"][0].values() for turn in turns)
    task = slots[0].task

    def say(ids: Any, tokens: int) -> str:
        prompt = torch.tensor(ids)[None].long()
        out: Any = base.model.generate(  # type: ignore[operator]
            input_ids=prompt,
            attention_mask=torch.ones_like(prompt),
            max_new_tokens=tokens,
            do_sample=False,
            eos_token_id=base.special.eos,
            pad_token_id=base.special.pad,
        )
        return task.decode(out[0, prompt.shape[1] :].tolist())

    dialogue = task.dialogues("validation", 2)[0]
    for number in range(2):
        line = say(state_window(task, dialogue, number).ids.tolist(), 192)
        dialogue = put_state(dialogue, number, line)
        assert made["end"][0][dialogue.id][number]["state"] == parse_state(line)
        (window,) = task.encode_whole((dialogue,))
        reply = say(window.ids[: window.prompts[number]].tolist(), 12)
        assert made["end"][0][dialogue.id][number]["response"] == reply


def test_what_a_user_asks_for_is_read_off_a_state_s_line() -> None:
    turn = Turn(
        user="", response="", delexicalised="", state={"hotel": {"area": "east"}}, booked=()
    )
    dialogue = Dialogue(id="d", turns=(turn,), goal={})
    (found,) = put_state(dialogue, 0, "hotel area = west , phone = ?").turns
    assert found.state == {"hotel": {"area": "west"}} and found.requested == {"hotel": ["phone"]}


@pytest.mark.slow
def test_scored_on_the_end_to_end_board() -> None:
    engine = Engine(make_spec(EMBEDDED_FOLDER), slots=1, max_rank=8)
    tracking = {**TRACKING, "target": "state+plan+response", "requests": True}
    config = make_config(
        EMBEDDED_FOLDER, **tracking, lora_rank=8, learning_rate=5e-3, max_new_tokens=48
    )
    engine.join("a", config, None)
    engine.train_until("a", 400)
    evaluation = engine.evaluate("a", ValidationRequest(4)).score()
    result = evaluation.result
    engine.close()
    assert result.states == "predicted" and result.dst is not None
    assert result.loss_nats is not None and 0 < result.loss_nats < 5
    made = [turn for turns in evaluation.responses.values() for turn in turns]
    said = [turn["response"] for turn in made]
    # a plan is cut off; that a model of 400 turns writes the sign once more is its own affair
    assert sum("bot>" in reply for reply in said) < len(said) / 4
    assert sum("[" in reply for reply in said) > len(said) / 4
    values = [v for turn in made for slots in turn["state"].values() for v in slots.values()]
    assert values and "?" not in values  # what was asked for is no part of a state


def test_lexicalised_replies_are_held_against_the_corpus_s_words() -> None:
    from trainable.corpus.load import load_corpus
    from trainable.corpus.losses import Losses
    from trainable.corpus.subset import validation_subset
    from trainable.result import TrainerState

    dialogues = validation_subset(load_corpus("cambridge").get_split("validation"), 4)
    words = {d.id: [{"response": turn.response} for turn in d.turns] for d in dialogues}
    rest = dict(corpus="cambridge", asked=ValidationRequest(4), generate_s=0.0)
    rest |= dict(losses=Losses(loss_nats=1.0), state=TrainerState(turns_seen=0, steps=0))
    bleu = {
        kind: score(Generated(**rest, responses=words, response=kind)).result.bleu  # type: ignore[arg-type]
        for kind in ("lexicalised", "delexicalised")
    }
    assert bleu["lexicalised"] > 99.9 > bleu["delexicalised"]
