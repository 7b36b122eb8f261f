"""Replies after the model's own earlier ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_trials import make_config, make_spec
from transformers import AutoModelForCausalLM, AutoTokenizer

from trainable.corpus.prompt import spell_target
from trainable.engine.decode.own_replies import put_reply
from trainable.engine.pack import Pack
from trainable.model.base import load_base
from trainable.model.source import EMBEDDED_FOLDER
from trainable.result import ValidationRequest
from trainable.solo.choose import open_plain
from trainable.trial import TrialConfig

DIALOGUES = 3
ASKED = ValidationRequest(DIALOGUES)
OWN = {"earlier_replies": "own"}
UNTUNED: dict[str, Any] = {
    **dict.fromkeys(("lora_rank", "alpha_over_rank", "rslora", "lora_modules")),
    **dict.fromkeys(("lora_dropout", "learning_rate", "schedule", "warmup_turns")),
    **dict.fromkeys(("batch_turns", "weight_decay", "clip_norm")),
    **{"method": "none", "train_turns": 0, "max_new_tokens": 12},
}
DECODINGS: dict[str, dict[str, Any]] = {
    "greedy": {},
    "biased": {"placeholder_bias": 2.0, "repetition_penalty": 1.2},
    "sampling": {"decoding": "sampling", "temperature": 1.0, "top_p": 0.9},
    "beam": {"decoding": "beam", "num_beams": 3, "length_penalty": 1.0},
    "contrastive": {"decoding": "contrastive", "top_k": 4, "penalty_alpha": 0.6},
}
CHATML = (
    "{% for m in messages %}{{ '<|' + m['role'] + '|>' + m['content'] + '<eos>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
STATES = {"target": "state+response", "context": "history+state+db"}


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def untuned(folder: Path = EMBEDDED_FOLDER, **changes: Any) -> TrialConfig:
    return make_config(folder, **{**UNTUNED, **changes})


def open_pack(configs: dict[str, TrialConfig]) -> Pack:
    folder = Path(next(iter(configs.values())).base_model)
    pack = Pack(load_base(make_spec(folder)), len(configs), max_rank=4, pass_tokens=2048)
    for key, config in configs.items():
        pack.join(key, config, None)
    return pack


def say(pack: Pack) -> dict[str, Any]:
    """Key -> replies, losses."""
    return pack.generate([(slot, ASKED) for slot in pack.slots.values()])


def say_again(pack: Pack, key: str, replies: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """What the slot replies where those are the corpus's own replies."""
    slot = pack.slots[key]
    task, changed = slot.task, []
    kind = "delexicalised" if slot.config.response == "delexicalised" else "response"
    for dialogue in task.dialogues("validation", DIALOGUES):
        made = zip(dialogue.turns, replies[dialogue.id], strict=True)
        turns = tuple(replace(turn, **{kind: reply["response"]}) for turn, reply in made)
        changed.append(replace(dialogue, turns=turns))
    with monkeypatch.context() as patched:
        patched.setattr(task, "dialogues", lambda split, n: tuple(changed))
        patched.setattr(task, "_held_out", {})
        patched.setattr(slot, "config", replace(slot.config, earlier_replies="corpus"))
        return pack.generate([(slot, ASKED)])[key][0]


def cut(replies: dict[str, list[Any]], turns: int) -> dict[str, list[Any]]:
    return {name: made[:turns] for name, made in replies.items()}


def test_prompts_hold_the_model_s_own_replies(monkeypatch: pytest.MonkeyPatch) -> None:
    """However they are decoded, by slots with the same model: a corpus of just these replies is
    replied to by the same ones. The first turn and the loss are what they were."""
    corpus = say(open_pack({name: untuned(**how) for name, how in DECODINGS.items()}))
    pack = open_pack({name: untuned(**how, **OWN) for name, how in DECODINGS.items()})
    own = say(pack)
    for name, (replies, losses) in own.items():
        assert say_again(pack, name, replies, monkeypatch) == replies != corpus[name][0]
        assert cut(replies, 1) == cut(corpus[name][0], 1)
        assert losses.nats_per_word == pytest.approx(corpus[name][1].nats_per_word)
        assert losses.nats_per_placeholder == pytest.approx(corpus[name][1].nats_per_placeholder)
    assert len({str(replies) for replies, _ in own.values()}) == len(DECODINGS)


def test_under_a_bias_of_the_request_they_are_biased_from_the_first_on() -> None:
    biased = {"placeholder_bias": 9.0, **OWN}
    wanted = say(open_pack({"one": untuned(**biased)}))["one"][0]
    pack = open_pack({"one": untuned(**OWN)})
    asked = ASKED._replace(bias=9.0)
    assert pack.generate([(pack.slots["one"], asked)])["one"][0] == wanted != say(pack)["one"][0]


@pytest.mark.parametrize(
    "task",
    [
        STATES,
        {"response": "lexicalised"},
        {"target": "plan+response", "max_new_tokens": 24},
        {"format": "turns", "instruction": "be brief"},
    ],
    ids=["states", "lexicalised", "plan", "turns"],
)
@pytest.mark.slow
def test_whatever_the_text(task: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """States are found at each turn, given the replies so far."""
    pack = open_pack({"own": untuned(**task, **OWN)})
    replies = say(pack)["own"][0]
    assert say_again(pack, "own", replies, monkeypatch) == replies
    corpus = say(open_pack({"corpus": untuned(**task)}))["corpus"][0]
    assert cut(replies, 1) == cut(corpus, 1) and replies != corpus
    assert all(("state" in turn) == (task is STATES) for made in replies.values() for turn in made)


@pytest.mark.slow
def test_in_a_chat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    AutoModelForCausalLM.from_pretrained(EMBEDDED_FOLDER).save_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(EMBEDDED_FOLDER)
    tokenizer.chat_template = CHATML
    tokenizer.save_pretrained(tmp_path)
    pack = open_pack({"own": untuned(tmp_path, layout="chat", **OWN)})
    replies = say(pack)["own"][0]
    assert say_again(pack, "own", replies, monkeypatch) == replies


@pytest.mark.parametrize("decoding", ["greedy", "sampling", "beam"])
@pytest.mark.slow
def test_a_trial_alone_replies_as_the_engine(decoding: str) -> None:
    config = untuned(**DECODINGS[decoding], **OWN)
    packed = say(open_pack({"one": config}))["one"]
    alone = open_plain(config, "cpu").generate(ASKED)
    assert alone.responses == packed[0]
    assert alone.losses.loss_nats == pytest.approx(packed[1].loss_nats)


def test_old_turns_are_cut_off_where_replies_are_longer_than_the_corpus_s() -> None:
    long = {"max_length_tokens": 128, "max_new_tokens": 100, "min_new_tokens": 100}
    pack = open_pack({"one": untuned(**long, **OWN)})
    made = say(pack)["one"][0]
    dialogues = pack.slots["one"].task.dialogues("validation", DIALOGUES)
    assert {name: len(turns) for name, turns in made.items()} == {
        d.id: len(d.turns) for d in dialogues
    }


@pytest.mark.parametrize(
    ("fields", "written"),
    [
        ({"response": "lexicalised", "target": "plan+response"}, "[name]\nbot> it is la mimosa"),
        ({"target": "acts+response"}, "hotel offer [area]\nbot> it is [name]"),
        (
            {"response": "lexicalised", "target": "acts+response"},
            "hotel offer\nbot> it is la mimosa",
        ),
    ],
)
def test_a_plan_that_the_reply_does_not_tell_is_kept(fields: dict[str, Any], written: str) -> None:
    pack = open_pack({"one": untuned(**fields)})
    task = pack.slots["one"].task
    dialogue = put_reply(task, task.dialogues("validation", 1)[0], 0, written)
    assert spell_target(dialogue.turns[0], task.config) == written
