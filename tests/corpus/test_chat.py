"""Dialogues in a base model's own chat template."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from trainable.corpus.encode import Tokenise, encode, find_special
from trainable.corpus.load import load_corpus
from trainable.corpus.prompt import list_messages
from trainable.dialogue.database import Database
from trainable.dialogue.dialogue import Dialogue, Turn
from trainable.engine.pack import Pack
from trainable.model.base import BaseSpec, load_base
from trainable.model.source import EMBEDDED_FOLDER
from trainable.trial import ConfigError, TrialConfig
from tune.plan.checks import check_materials

END = "<|im_end|>"
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
LLAMA_2 = (  # a system's part in the first user's, and a space in front of the reply's end
    "{% set told = messages[0]['content'] if messages[0]['role'] == 'system' else false %}"
    "{% for m in (messages[1:] if told else messages) %}{% if m['role'] == 'user' %}<s>[INST] "
    "{% if loop.first and told %}<<SYS>>\n{{ told }}\n<</SYS>>\n\n{% endif %}"
    "{{ m['content'] }} [/INST]{% else %} {{ m['content'] }} </s>{% endif %}{% endfor %}"
)
GEMMA = (  # turns end with a token that is not the sequence's end; no system's part
    "<s>{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    "{% for m in messages %}<|im_start|>{{ 'model' if m['role'] == 'assistant' else m['role'] }}\n"
    "{{ m['content'] | trim }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>model\n{% endif %}"
)
PHI = (  # likewise, with a system's part
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% else %}{{ eos_token }}{% endif %}"
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


def make_tokenizer(template: str | None, eos: str = END) -> PreTrainedTokenizerBase:
    tokenizer = AutoTokenizer.from_pretrained(EMBEDDED_FOLDER)
    others = ["<|im_start|>", END]
    tokenizer.add_special_tokens(
        {"eos_token": eos, "bos_token": "<s>", "additional_special_tokens": others}
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
    tokenizer, corpus = make_tokenizer(template), load_corpus("cambridge")
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


@pytest.mark.parametrize(
    ("template", "end"), [(CHATML, END), (GEMMA, END), (PHI, END), (LLAMA_2, "</s>")]
)
@pytest.mark.parametrize("system", ["", "You sell tea."])
def test_every_assistant_turn_is_learnt_up_to_the_template_s_own_end(
    template: str, end: str, system: str
) -> None:
    """Also where that is not the end of the sequence; a system message that the template takes
    no part for stands in front of the first user's words."""
    tokenizer = make_tokenizer(template, eos="</s>")
    config, prefix = make_config(response="lexicalised"), (tokenizer.bos_token_id,)
    special = find_special(config, tokenizer, prefix, tokenizer.eos_token_id)
    assert special.eos == tokenizer.convert_tokens_to_ids(end)

    said = [("Do you have oolong?", "Yes, two."), ("Which?", "One green,\n\none dark.")]
    turns = tuple(
        Turn(user=user, response=reply, delexicalised=reply, state={}, booked=())
        for user, reply in said
    )
    dialogue = Dialogue(id="tea", turns=turns, goal={}, system=system)
    (window,) = encode([dialogue], config, Database({}), tokenise_with(tokenizer), special)
    learnt = tokenizer.decode(window.ids[window.is_target].tolist()).split(end)
    assert [text.strip() for text in learnt] == [*(reply for _, reply in said), ""]

    assert special.chat is not None
    told = list_messages(dialogue, config, Database({}), special.chat)
    assert (told[0]["role"] == "system") == bool(system and template != GEMMA)
    whole = tokenizer.apply_chat_template(told, tokenize=False)
    written = tokenizer.decode(window.ids.tolist()).removeprefix("<s>")
    assert whole.removeprefix("<s>").startswith(written)


def test_a_cut_dialogue_keeps_the_system_s_part_and_whole_exchanges() -> None:
    tokenizer, corpus = make_tokenizer(CHATML), load_corpus("cambridge")
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
    tokenizer, corpus = make_tokenizer(CHATML), load_corpus("cambridge")
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
    tokenizer = make_tokenizer(template)
    with pytest.raises(ConfigError, match=message):
        find_special(make_config(instruction=instruction), tokenizer, (), 0)


def test_a_model_without_a_template_is_refused_before_anything_starts() -> None:
    with pytest.raises(ConfigError, match="needs a base model with a chat template"):
        check_materials([make_config(base_model="tiny")])


@pytest.mark.slow
def test_a_trial_in_its_model_s_chat(tmp_path: Path) -> None:
    """Trained, and asked again: what it was taught comes back, and ends with the template's own
    token, which is not the end of the sequence."""
    shutil.copytree(EMBEDDED_FOLDER, tmp_path / "base")
    tokenizer = AutoTokenizer.from_pretrained(EMBEDDED_FOLDER)
    tokenizer.chat_template = CHATML.replace(END, tokenizer.bos_token).replace("<|im_start|>", "# ")
    tokenizer.save_pretrained(tmp_path / "base")
    spec = BaseSpec(base_model=str(tmp_path / "base"), quantisation="fp32", device="cpu")
    pack = Pack(load_base(spec), 1, max_rank=4)
    config = make_trained(tmp_path / "base", layout="chat", learning_rate=5e-3)
    pack.join("chat", config, None)
    slot = pack.slots["chat"]
    before = pack.generate([(slot, "validation", 2)])["chat"][1]
    pack.aim("chat", 120)
    while slot.is_training:
        pack.train_pass([slot])
    replies, after = pack.generate([(slot, "validation", 2)])["chat"]
    assert after.loss_nats < before.loss_nats - 0.5
    texts = [turn["response"] for turns in replies.values() for turn in turns]
    assert all(texts) and not any("#" in text for text in texts)


def test_a_chat_s_replies_hold_no_state() -> None:
    with pytest.raises(ConfigError, match="needs --set layout=lines"):
        make_config(target="state+response")
