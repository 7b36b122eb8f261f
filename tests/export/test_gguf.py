"""GGUF files: what llama.cpp computes and how it tokenises, by transformers' reader and, where it
is installed, by llama.cpp itself."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from analysis.records import read_sweep
from trainable.corpus.encode import find_special
from trainable.model.base import BaseSpec, load_base
from trainable.model.source import EMBEDDED_FOLDER, locate
from trainable.model.special_ids import read_special_ids
from trainable.model.unpacked import open_tokenizer
from trainable.storage.checkpoint import read_evaluation
from trainable.trial import ConfigError, TrialConfig
from tune.evaluate import main as evaluate
from tune.export.choice import choose_trials
from tune.export.command import main as export
from tune.export.gguf.template import spell_go, spell_jinja
from tune.export.gguf.vocabulary import Reading, read_vocabulary
from tune.export.gguf.write import name_file, write_gguf
from tune.export.tokens import encode_dialogues, load_tokens, read_special

gguf = pytest.importorskip("gguf")

SIZES: dict[str, Any] = {
    "vocab_size": 1280,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.2,
    "max_position_embeddings": 1024,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
LINEAR = {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}
GEMMA = {"head_dim": 16, "query_pre_attn_scalar": 16, "sliding_window": 32}
GEMMA3 = {**GEMMA, "num_hidden_layers": 6}
CASES = {
    "llama": ("llama", {}),
    "tied-with-biases": (
        "llama",
        {"tie_word_embeddings": True, "attention_bias": True, "mlp_bias": True},
    ),
    "heads-of-another-size": ("llama", {"head_dim": 32}),
    "llama3-positions": ("llama", {"rope_parameters": LLAMA3}),
    "linear-positions": ("llama", {"rope_parameters": LINEAR}),
    "mistral": ("mistral", {"sliding_window": None}),
    "qwen2": ("qwen2", {}),
    "qwen3": ("qwen3", {"head_dim": 16}),
    "phi3": ("phi3", {"sliding_window": None}),
    "gemma2": ("gemma2", {**GEMMA, "attn_logit_softcapping": 5.0}),
    "gemma3": ("gemma3_text", GEMMA3),
}
REFUSED = {
    "gpt_neox": ({}, "of the architecture gpt_neox"),
    "mistral": ({"sliding_window": 32}, "each layer must see all 1024 tokens"),
    "llama": ({"rope_parameters": {**LINEAR, "rope_type": "dynamic"}}, "positions must be"),
    "gemma2": ({**GEMMA, "query_pre_attn_scalar": 64}, "query_pre_attn_scalar must be"),
}


def draw_model(kind: str, fields: dict[str, Any]) -> Any:
    """Norms and biases off their neutral values, so that nothing is right by luck."""
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **{**SIZES, **fields}))
    with torch.no_grad():
        for name, values in model.named_parameters():
            if values.ndim == 1 or "norm" in name:
                values.add_(torch.randn_like(values) * 0.1)
    return model.float().eval()


def write(model: Any, folder: Path, kinds: tuple[str, ...] = ("f16",)) -> None:
    config = TrialConfig(base_model="tiny", quantisation="fp32", method="none")
    write_gguf(model, config, read(config), kinds, folder)


def read(config: TrialConfig) -> Reading:
    tokens = load_tokens(config)
    special = read_special(config, tokens)
    return Reading(tokenizer=tokens.tokenizer, ids=tokens.special, special=special)


@torch.no_grad()
def find_divergence(model: Any, log_probs: Callable[[list[int]], Any]) -> float:
    """Nats a token (KL), over 80 random tokens: longer than the windows above."""
    ids = torch.randint(3, 1000, (80,), generator=torch.Generator().manual_seed(1))
    ours = model(ids[None]).logits[0].log_softmax(-1)
    theirs = torch.as_tensor(log_probs(ids.tolist())).log_softmax(-1)
    return float((ours.exp() * (ours - theirs)).sum(-1).mean())


@pytest.mark.parametrize("case", CASES)
def test_llama_cpp_computes_the_same(case: str, tmp_path: Path) -> None:
    llama_cpp = pytest.importorskip("llama_cpp")
    model = draw_model(*CASES[case])
    write(model, tmp_path)

    def compute(ids: list[int]) -> Any:
        served = llama_cpp.Llama(
            str(tmp_path / name_file("f16")), n_ctx=128, logits_all=True, verbose=False
        )
        served.eval(ids)
        return np.array(served.scores[: len(ids)])

    assert find_divergence(model, compute) < 1e-4


@pytest.mark.parametrize("case", ["llama", "qwen3", "gemma2"])
def test_every_tensor_is_in_its_place(case: str, tmp_path: Path) -> None:
    model = draw_model(*CASES[case])
    write(model, tmp_path, ("f16", "q8_0"))
    for kind, most in (("f16", 1e-4), ("q8_0", 0.05)):
        again = AutoModelForCausalLM.from_pretrained(
            tmp_path, gguf_file=name_file(kind), config=model.config, dtype=torch.float32
        ).eval()

        def compute(ids: list[int], again: Any = again) -> Any:
            return again(torch.tensor([ids])).logits[0]

        assert find_divergence(model, compute) < most


def test_of_several_precisions_the_most_exact_is_the_base_model(tmp_path: Path) -> None:
    write(draw_model("llama", {}), tmp_path, ("q8_0", "f16"))
    assert locate(str(tmp_path)).gguf_file == name_file("f16")
    (tmp_path / name_file("f16")).rename(tmp_path / "other.gguf")
    with pytest.raises(ConfigError, match=r"2 \.gguf files"):
        locate(str(tmp_path))


def test_a_file_is_read_once_and_its_model_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing can be kept, it is read each time."""
    write(draw_model("llama", {}), tmp_path)
    spec = BaseSpec(base_model=str(tmp_path), quantisation="nf4", device="cpu")
    monkeypatch.setenv("QLORA_SEARCH_CACHE", str(tmp_path / name_file("f16") / "no-folder"))
    read_anew = load_base(spec).model.state_dict()
    monkeypatch.setenv("QLORA_SEARCH_CACHE", str(tmp_path / "cache"))
    load_base(spec)
    monkeypatch.setattr(gguf.GGUFReader, "__init__", None)
    recalled = load_base(spec).model.state_dict()
    assert read_anew.keys() == recalled.keys()
    assert all(torch.equal(values, recalled[name]) for name, values in read_anew.items())


def test_a_vocabulary_that_is_read_wrongly_is_refused(
    tmp_path: Path, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without its merges a vocabulary writes letter by letter."""
    write(draw_model("llama", {}), tmp_path)
    source = locate(str(tmp_path))
    bare = open_tokenizer(source)
    content = json.loads(bare.backend_tokenizer.to_str())
    content["model"]["merges"] = []
    bare.backend_tokenizer.model = Tokenizer.from_str(json.dumps(content)).model
    monkeypatch.setattr(AutoTokenizer, "from_pretrained", lambda *_, **__: bare)
    with pytest.raises(ConfigError, match="it cuts 'the', which is one token there"):
        open_tokenizer(source)
    shutil.copy(EMBEDDED_FOLDER / "tokenizer.json", tmp_path)
    assert open_tokenizer(source) is bare


@pytest.mark.parametrize("kind", REFUSED)
def test_what_llama_cpp_would_compute_otherwise_is_refused(kind: str, tmp_path: Path) -> None:
    fields, told = REFUSED[kind]
    with pytest.raises(ConfigError, match=told) as caught:
        write(draw_model(kind, fields), tmp_path)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_tokenizer_that_cuts_in_an_unknown_way_is_refused(tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(EMBEDDED_FOLDER)
    state = json.loads(tokenizer.backend_tokenizer.to_str())
    state["pre_tokenizer"]["pretokenizers"][0]["individual_digits"] = False
    (tmp_path / "tokenizer.json").write_text(json.dumps(state))
    other = AutoTokenizer.from_pretrained(tmp_path)
    usual = read(TrialConfig(quantisation="fp32", method="none"))
    with pytest.raises(ConfigError, match="how it cuts a text"):
        read_vocabulary(replace(usual, tokenizer=other), 1280)


CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<eos>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def test_templates_write_what_the_trial_read() -> None:
    config = TrialConfig(quantisation="fp32", method="none", instruction='Say "yes".')
    tokens = load_tokens(config)
    (window,) = encode_dialogues(config, tokens, "validation", 1)[:1]
    whole = tokens.tokenizer.decode(window.ids[: window.prompts[1]].tolist())
    head, said, bot, reply, asked = _split(whole)
    messages = [("user", said), ("assistant", reply), ("user", asked)]
    tokens.tokenizer.chat_template = spell_jinja(config, tokens.tokenizer, None, "<eos>")
    spelt = [{"role": role, "content": text} for role, text in messages]
    assert head + tokens.tokenizer.apply_chat_template(spelt, tokenize=False) == whole
    assert bot == "\nbot> "


def _split(whole: str) -> tuple[str, str, str, str, str]:
    head, _, rest = whole.partition("Say")
    assert rest.startswith(' "yes".\nuser> ')
    said, bot, rest = rest.removeprefix(' "yes".\nuser> ').partition("\nbot> ")
    reply, _, asked = rest.partition("<eos>\nuser> ")
    return head, said, bot, reply, asked.removesuffix("\nbot>")


def test_ollamas_template_of_a_chat() -> None:
    tokenizer = AutoTokenizer.from_pretrained(EMBEDDED_FOLDER)
    tokenizer.chat_template = CHATML
    config = TrialConfig(quantisation="fp32", method="none", layout="chat")
    special = read_special_ids(tokenizer, "x")
    chat = find_special(config, tokenizer, special.prefix, special.eos).chat
    assert spell_go(config, chat, "<eos>") == (
        "{{ if .System }}<|im_start|>system\n{{ .System }}<eos>\n{{ end }}{{ range .Messages }}"
        '{{ if eq .Role "user" }}<|im_start|>user\n{{ .Content }}<eos>\n<|im_start|>assistant\n'
        '{{ else if eq .Role "assistant" }}{{ .Content }}<eos>\n{{ end }}{{ end }}'
    )


@pytest.mark.slow
def test_an_export_says_what_the_trial_said(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert export([str(trained), "--out", str(out), "--gguf"]) == 0
    (found,) = json.loads((out / "trial.json").read_text())["gguf"]["files"].values()
    assert found["kl_nats_per_token"] < 1e-4
    assert found["same_replies"] == 1.0
    modelfile = (out / "Modelfile").read_text()
    assert modelfile.startswith("FROM ./model-f16.gguf\n")
    for line in ("temperature 0", "repeat_penalty 1", 'stop "<eos>"', "num_predict 48"):
        assert f"PARAMETER {line}\n" in modelfile
    card = (out / "README.md").read_text()
    assert "llama-server -m model-f16.gguf" in card
    assert "library_name: gguf" in card
    (choice,) = choose_trials(read_sweep(trained), trial=None, metric="combined", top=1)
    capsys.readouterr()
    wanted = ["--adapter", str(out), "--split", "validation", "--dialogues", "4", "--json"]
    assert evaluate(wanted) == 0
    scores = json.loads(capsys.readouterr().out)
    assert scores["combined"] == pytest.approx(choice.evaluation.combined, abs=1e-9)


@pytest.mark.slow
def test_llama_cpp_says_what_the_trial_said(trained: Path, tmp_path: Path) -> None:
    llama_cpp = pytest.importorskip("llama_cpp")
    assert export([str(trained), "--out", str(tmp_path / "out"), "--gguf"]) == 0
    (choice,) = choose_trials(read_sweep(trained), trial=None, metric="combined", top=1)
    served = llama_cpp.Llama(str(tmp_path / "out/model-f16.gguf"), n_ctx=1024, verbose=False)
    tokens = load_tokens(choice.config)
    recorded = read_evaluation(choice.checkpoint).responses
    for window in encode_dialogues(choice.config, tokens, "validation", 2):
        for turn, prompt in zip(window.turns, window.prompts, strict=True):
            ids = window.ids[:prompt].tolist()
            text = tokens.tokenizer.decode(ids).removeprefix("<bos>")
            assert served.tokenize(text.encode(), special=True) == ids
            made = served.create_completion(text, max_tokens=48, temperature=0.0)
            reply = recorded[window.dialogue_id][turn]["response"]
            assert made["choices"][0]["text"].strip() == reply
