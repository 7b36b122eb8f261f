"""Dialogues in a base model's own chat template."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from chat_models import ENDS, make_model, make_tokenizer
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from trainable.corpus.encode import Tokenise, encode, find_special
from trainable.corpus.load import load_corpus
from trainable.corpus.prompt import list_messages
from trainable.dialogue.database import Database
from trainable.dialogue.dialogue import Dialogue, Turn
from trainable.engine.pack import Pack
from trainable.model.base import BaseSpec, load_base
from trainable.model.source import EMBEDDED_FOLDER
from trainable.model.special_ids import read_special_ids
from trainable.result import ValidationRequest
from trainable.solo.train import PlainFinetuner
from trainable.trial import ConfigError, TrialConfig
from tune.plan.checks import check_materials

END = "<|im_end|>"
TAUGHT_TURNS = 160
CHATML = (  # as SmolLM2's and Qwen's, with a system's part of its own where none is given
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nBe kind.<|im_end|>\n{% endif %}"
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] | trim }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA = (  # as Llama 2's: the sequence's beginning, and no system's part
    "{{ bos_token }}{% for m in messages %}{% if m['role'] == 'system' %}"
    "{{ raise_exception('no system') }}{% elif m['role'] == 'user' %}[INST] {{ m['content'] }} "
    "[/INST]{% else %} {{ m['content'] }}{{ eos_token }}{% endif %}{% endfor %}"
)
UNEVEN = CHATML.replace("{{ m['role'] }}", "{{ m['role'] }}{{ loop.index }}")
OPEN = CHATML.replace("<|im_end|>", "")


def make_config(**changes: Any) -> TrialConfig:
    fields = {"method": "none", "quantisation": "fp32", "layout": "chat", **changes}
    return TrialConfig(**fields)


def make_trained(base: Path, **changes: Any) -> TrialConfig:
    trained: dict[str, Any] = {
        **{"method": "lora", "lora_rank": 4, "alpha_over_rank": 2.0, "rslora": False},
        **{"lora_modules": "all-linear", "lora_dropout": 0.0, "schedule": "constant"},
        **{"warmup_turns": 0, "batch_turns": 8, "train_turns": 10_000, "weight_decay": 0.0},
        **{"clip_norm": 1.0, "max_new_tokens": 12, "base_model": str(base)},
    }
    return make_config(**{**trained, **changes})


def embedded_tokenizer(template: str | None) -> PreTrainedTokenizerBase:
    tokenizer = AutoTokenizer.from_pretrained(EMBEDDED_FOLDER)
    others = ["<|im_start|>"]
    tokenizer.add_special_tokens(
        {"eos_token": END, "bos_token": "<s>", "additional_special_tokens": others}
    )
    tokenizer.chat_template = template
    return tokenizer


def tokenise_with(tokenizer: PreTrainedTokenizerBase) -> Tokenise:
    return lambda texts: list(tokenizer(texts, add_special_tokens=False)["input_ids"])


def messages(dialogue: Any, instruction: str | None) -> list[dict[str, str]]:
    system = [{"role": "system", "content": instruction}] if instruction else []
    said = [
        {"role": role, "content": text}
        for turn in dialogue.turns
        for role, text in (("user", turn.user), ("assistant", turn.delexicalised.strip()))
    ]
    return system + said


@pytest.mark.parametrize(
    ("template", "instruction", "has_prefix"),
    [(CHATML, None, False), (CHATML, "Answer briefly.", False), (LLAMA, None, True)],
)
def test_a_window_is_what_the_template_writes(
    template: str, instruction: str | None, has_prefix: bool
) -> None:
    tokenizer, corpus = embedded_tokenizer(template), load_corpus("cambridge")
    config = make_config(instruction=instruction, max_length_tokens=4096)
    prefix = (tokenizer.bos_token_id,) if has_prefix else ()
    special = find_special(config, tokenizer, prefix, tokenizer.eos_token_id)

    dialogues = corpus.splits["validation"][:5]
    windows = encode(dialogues, config, corpus.database, tokenise_with(tokenizer), special)
    for dialogue, window in zip(dialogues, windows, strict=True):
        whole = tokenizer.apply_chat_template(messages(dialogue, instruction), tokenize=False)
        written = tokenizer.decode(window.ids.tolist())
        assert written.split() == whole.removesuffix("\n").split()
        learnt = tokenizer.decode(window.ids[window.is_target].tolist()).split(END)
        replies = [turn.delexicalised.split() for turn in dialogue.turns]
        assert [text.split() for text in learnt[:-1]] == replies
        asked = tokenizer.decode(window.ids[: window.prompts[-1]].tolist())
        before = messages(dialogue, instruction)[:-1]
        prompt = tokenizer.apply_chat_template(before, tokenize=False, add_generation_prompt=True)
        assert asked.split() == prompt.split()


@pytest.mark.parametrize("family", ENDS)
@pytest.mark.parametrize("system", ["", "You are kind."])
def test_a_family_s_chats_are_token_for_token_what_its_template_gives(
    family: str, system: str
) -> None:
    """Every reply is learnt up to the family's own end of a turn; a system message that the
    template takes no part for stands in front of the first user's words."""
    tokenizer = make_tokenizer(family)
    config, own = make_config(response="lexicalised"), read_special_ids(tokenizer, family)
    special = find_special(config, tokenizer, own.prefix, own.eos)
    said = [("Is four even?", "Yes."), ("And seven?", "No,\n\nit is odd.")]
    turns = tuple(
        Turn(user=user, response=reply, delexicalised=reply, state={}, booked=())
        for user, reply in said
    )
    dialogue = Dialogue(id="numbers", turns=turns, goal={}, system=system)
    (window,) = encode([dialogue], config, Database({}), tokenise_with(tokenizer), special)

    assert special.chat is not None
    told = list_messages(dialogue, config, Database({}), takes_system=bool(special.chat.told))
    assert (told[0]["role"] == "system") == bool(system and family != "gemma")
    ids, n_asked = window.ids.tolist(), window.prompts[-1]
    asked = tokenizer.apply_chat_template(told[:-1], add_generation_prompt=True)["input_ids"]
    assert ids[:n_asked] == asked
    assert ids == tokenizer.apply_chat_template(told)["input_ids"][: len(ids)]
    learnt = tokenizer.decode(window.ids[window.is_target].tolist()).split(ENDS[family])
    assert [text.strip() for text in learnt] == [*(reply for _, reply in said), ""]


def test_a_cut_dialogue_keeps_the_system_s_part_and_whole_exchanges() -> None:
    tokenizer, corpus = embedded_tokenizer(CHATML), load_corpus("cambridge")
    config = make_config(instruction="Answer briefly.", max_length_tokens=4096)
    special = find_special(config, tokenizer, (), tokenizer.eos_token_id)

    dialogue = max(corpus.splits["validation"], key=lambda d: len(d.turns))
    (whole,) = encode([dialogue], config, corpus.database, tokenise_with(tokenizer), special)
    short = replace(config, max_length_tokens=len(whole.ids) // 2)
    windows = encode([dialogue], short, corpus.database, tokenise_with(tokenizer), special)
    assert len(windows) > 1
    for window in windows:
        text = tokenizer.decode(window.ids.tolist())
        assert "Answer briefly." in text.partition("user")[0]
        assert text.count("<|im_start|>") == text.count(END)


def test_the_state_stands_below_the_user_s_words() -> None:
    tokenizer, corpus = embedded_tokenizer(CHATML), load_corpus("cambridge")
    config = make_config(context="history+state+db", max_length_tokens=4096)
    special = find_special(config, tokenizer, (), tokenizer.eos_token_id)

    (window,) = encode(
        corpus.splits["validation"][:1], config, corpus.database, tokenise_with(tokenizer), special
    )
    text = tokenizer.decode(window.ids[: window.prompts[0]].tolist())
    assert text.index("user") < text.index("state>") < text.index("db>") < text.rindex(END)


@pytest.mark.parametrize(
    ("template", "instruction", "message"),
    [
        (None, None, "needs a base model with a chat template"),
        (UNEVEN, None, "writes every exchange alike"),
        (OPEN, None, "closes a reply with"),
        (LLAMA, "Be kind.", "does not take this dialogue"),
    ],
)
def test_templates_that_will_not_do(
    template: str | None, instruction: str | None, message: str
) -> None:
    tokenizer = embedded_tokenizer(template)
    with pytest.raises(ConfigError, match=message):
        find_special(make_config(instruction=instruction), tokenizer, (), 0)


def test_a_model_without_a_template_is_refused_before_anything_starts() -> None:
    with pytest.raises(ConfigError, match="needs a base model with a chat template"):
        check_materials([make_config(base_model="tiny")])


Texts = tuple[list[str], list[str]]  # replies before training, and after it


def teach_packed(config: TrialConfig) -> Texts:
    pack = Pack(load_base(BaseSpec.of(config, device="cpu")), 1, max_rank=16)
    pack.join("chat", config, None)
    slot = pack.slots["chat"]
    before = pack.generate([(slot, ValidationRequest(3))])["chat"].responses
    pack.aim("chat", TAUGHT_TURNS)
    while slot.is_training:
        pack.train_pass([slot])
    after = pack.generate([(slot, ValidationRequest(3))])["chat"].responses
    return list_texts(before), list_texts(after)


def teach_alone(config: TrialConfig) -> Texts:
    finetuner = PlainFinetuner(config, load_base(BaseSpec.of(config, device="cpu")))
    before = finetuner.generate(ValidationRequest(3)).responses
    finetuner.train_until(TAUGHT_TURNS)
    return list_texts(before), list_texts(finetuner.generate(ValidationRequest(3)).responses)


def list_texts(replies: dict[str, list[dict[str, Any]]]) -> list[str]:
    return [turn["response"] for turns in replies.values() for turn in turns]


@pytest.mark.parametrize(
    ("family", "teach"),
    [
        *((family, teach_alone) for family in ("gemma", "llama-3")),
        pytest.param("phi-3", teach_packed, marks=pytest.mark.slow),
        *(
            pytest.param(family, teach_packed, marks=pytest.mark.nightly)
            for family in sorted({*ENDS} - {"phi-3"})
        ),
    ],
)
def test_what_a_family_s_model_is_taught_comes_back_without_its_end(
    tmp_path: Path, own_cache: Path, family: str, teach: Callable[[TrialConfig], Texts]
) -> None:
    """Alone too, where `generate` leaves the end in the reply and pads behind it: Gemma's end is
    added to the vocabulary and not special, and what fills Llama 3's is an ordinary token."""
    answers = {"four": "Yes.", "seven": "No,\n\nit is odd.", "six": "Yes.", "five": "No."}
    rows = [{"prompt": f"Is {n} even?", "completion": said} for n, said in answers.items()] * 6
    (tmp_path / "chats.jsonl").write_text("\n".join(map(json.dumps, rows)))
    fields = {"corpus": str(tmp_path / "chats.jsonl"), "response": "lexicalised"}
    base = make_model(family, tmp_path / "base")
    config = make_trained(base, **fields, learning_rate=5e-3, lora_rank=16, max_new_tokens=24)
    before, after = teach(config)
    assert not {*before} & {*answers.values()}
    assert {*after} <= {*answers.values()}


def test_a_chat_s_replies_hold_no_state() -> None:
    with pytest.raises(ConfigError, match="needs --set layout=lines"):
        make_config(target="state+response")
