"""The Modelfile by Ollama's rules, and its template, by Go's own engine where Go is installed,
beside what the trial read."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest
from transformers import AutoTokenizer

from trainable.corpus.encode import find_special
from trainable.model.source import EMBEDDED_FOLDER
from trainable.model.special_ids import read_special_ids
from trainable.trial import TrialConfig
from tune.export.gguf.modelfile import spell_modelfile
from tune.export.gguf.template import spell_go, spell_jinja
from tune.export.tokens import encode_dialogues, load_tokens

CHATML = (
    "{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\\n' + m['content'] + '<eos>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
# it ends a quotation, begins an action, and has a blank that is dropped
ODD = 'Say """yes""" or {{ no }}.\u00a0'
# Modelfile parameters that Ollama knows, of those that are written
KNOWN = {"temperature", "top_k", "top_p", "typical_p", "min_p", "repeat_penalty", "seed"}
KNOWN |= {"num_ctx", "num_predict", "stop"}
# the options that Ollama gives Go's engine, and messages as it hands them over
PROGRAM = """
package main

import ("encoding/json"; "os"; "text/template")

type Message struct { Role, Content string }

func main() {
    var asked struct { Template, System string; Messages []*Message }
    json.NewDecoder(os.Stdin).Decode(&asked)
    made := template.Must(template.New("").Option("missingkey=zero").Parse(asked.Template))
    made.Execute(os.Stdout, map[string]any{"System": asked.System, "Messages": asked.Messages})
}
"""


def read_modelfile(text: str) -> dict[str, str]:
    """Instruction (of parameters their name) -> value, as Ollama's reader takes them: a value in
    triple quotes goes on to the next three, and what is not printed is dropped."""
    assert text.count('"""') == 2
    head, template, rest = text.split('"""')
    assert all(sign.isprintable() or sign in "\n\t" for sign in text)
    lines = [line for line in (head + rest).splitlines() if line and not line.startswith("#")]
    found = {}
    for line in lines:
        word, _, value = line.removeprefix("PARAMETER ").partition(" ")
        found[word] = value.strip('"')
    return {**found, "TEMPLATE": template}


@pytest.mark.parametrize("instruction", [None, ODD])
def test_every_line_is_one_that_ollama_reads(instruction: str | None) -> None:
    config = TrialConfig(quantisation="fp32", method="none", instruction=instruction)
    found = read_modelfile(spell_modelfile(config, None, "<eos>", "model-f16.gguf"))
    assert found.pop("FROM") == "./model-f16.gguf" and found["stop"] == "<eos>"
    template = found.pop("TEMPLATE")
    assert "{{ no" not in template
    assert found.keys() == KNOWN
    assert all(float(value) >= 0 for name, value in found.items() if name != "stop")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    go = shutil.which("go")
    if go is None:
        pytest.skip("Go, whose template engine is Ollama's, is not installed")
    folder = tmp_path_factory.mktemp("go")
    (folder / "main.go").write_text(PROGRAM)
    subprocess.run([go, "build", "-o", folder / "render", folder / "main.go"], check=True)
    return folder / "render"


def render(program: Path, template: str, messages: list[dict[str, str]]) -> str:
    system = "\n\n".join(m["content"] for m in messages if m["role"] == "system")
    asked = {"Template": template, "System": system, "Messages": messages}
    done = subprocess.run([program], input=json.dumps(asked), capture_output=True, text=True)
    assert not done.stderr
    return done.stdout


@pytest.mark.nightly
@pytest.mark.parametrize("target", ["response", "plan+response"])
def test_go_writes_what_the_trial_read(target: str, program: Path) -> None:
    """Replies as a server gives them back, with the blank they begin with, and without."""
    config = TrialConfig(quantisation="fp32", method="none", instruction=ODD, target=target)
    tokens = load_tokens(config)
    (window,) = encode_dialogues(config, tokens, "validation", 1)[:1]
    whole = tokens.tokenizer.decode(window.ids[: window.prompts[2]].tolist()).removeprefix("<bos>")
    messages = []
    for exchange in whole.removeprefix(f"{ODD}\n").split("user> ")[1:]:
        said, _, reply = exchange.partition("\nplan>" if "plan" in target else "\nbot>")
        messages.append({"role": "user", "content": said})
        if reply:
            messages.append({"role": "assistant", "content": reply.removesuffix("<eos>\n")})
    assert [m["role"] for m in messages] == ["user", "assistant"] * 2 + ["user"]
    messages[3]["content"] = messages[3]["content"].strip()
    template = read_modelfile(spell_modelfile(config, None, "<eos>", "x.gguf"))["TEMPLATE"]
    assert render(program, template, messages) == whole
    tokens.tokenizer.chat_template = spell_jinja(config, tokens.tokenizer, None, "<eos>")
    assert tokens.tokenizer.apply_chat_template(messages, tokenize=False) == whole


@pytest.mark.nightly
def test_go_writes_what_a_chat_template_does(program: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(EMBEDDED_FOLDER)
    tokenizer.chat_template = CHATML
    config = TrialConfig(quantisation="fp32", method="none", layout="chat", instruction=ODD)
    special = read_special_ids(tokenizer, "x")
    chat = find_special(config, tokenizer, special.prefix, special.eos).chat
    talk = [("user", "a hotel?"), ("assistant", "[name] ."), ("user", "and \u00a3 {{ x }}?")]
    said = [{"role": role, "content": text} for role, text in talk]
    told = [{"role": "system", "content": ODD}, *said]
    wanted = tokenizer.apply_chat_template(told, tokenize=False, add_generation_prompt=True)
    assert render(program, spell_go(config, chat, "<eos>"), said) == wanted
