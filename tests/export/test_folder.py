"""What an exported folder holds, and what it never tells."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from huggingface_hub import EvalResultEntry, ModelCard, parse_eval_result_entries
from peft import PeftConfig
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from trainable.corpus.encode import find_special
from trainable.corpus.load import load_corpus
from trainable.corpus.subset import validation_subset
from trainable.model.source import EMBEDDED_FOLDER
from trainable.model.special_ids import SpecialIds
from trainable.trial import TrialConfig
from tune.export.command import main
from tune.export.snippets import pick_example, show_pipeline, show_reply
from tune.export.tokens import Tokens, spell_generation

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
NAMES = ("--base-model-id", "me/tiny", "--dataset-id", "me/cambridge")


@pytest.fixture
def folder(trained: Path, tmp_path: Path) -> Path:
    assert main([str(trained), "--out", str(tmp_path / "out"), *NAMES]) == 0
    return tmp_path / "out"


def test_the_adapter_is_pefts(folder: Path, trained: Path, best: str) -> None:
    config = PeftConfig.from_pretrained(folder)
    assert config.base_model_name_or_path == "me/tiny"
    assert config.peft_type == "LORA"
    (source,) = (trained / "checkpoints" / best).glob("*/adapter_model.safetensors")
    assert (folder / "adapter_model.safetensors").read_bytes() == source.read_bytes()
    assert not list(folder.rglob("optimizer*"))


def test_no_machine_and_no_path_is_told(folder: Path, trained: Path) -> None:
    for path in folder.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        for secret in ("secret-host", str(trained), str(Path.home()) + "/"):
            assert secret.encode() not in content, (path, secret)


def test_the_card_is_what_the_hub_reads(folder: Path, best: str) -> None:
    card = ModelCard.load(folder / "README.md")
    data = card.data
    assert data.base_model == "me/tiny"
    assert data.library_name == "peft"
    assert data.license == "mit"
    assert data.datasets == ["me/cambridge"]
    assert data.model_name.startswith("tiny for task-oriented dialogue, a LoRA adapter")
    assert f"# {data.model_name}\n" in card.text and f"trial {best} of" in card.text
    assert "$ pip install torch transformers peft bitsandbytes\n" in card.text
    record = json.loads((folder / "trial.json").read_text())
    told = {r.metric_type: r for r in data.eval_results}
    assert set(told) == {"bleu", "inform", "success", "combined"}
    for metric, result in told.items():
        assert result.metric_value == pytest.approx(record["evaluation"][metric], abs=1e-3)
        low, high = result.metric_args["interval_95"]
        assert low <= result.metric_value <= high
        assert result.dataset_split == "validation"
    for heading in (
        *(
            "Loading it",
            "Using it",
            "As it was scored",
            "Intended use and limits",
            "Scores",
            "Learning curves",
        ),
        *("Cost", "Licence"),
    ):
        assert f"## {heading}\n" in card.text
    assert "policy optimisation" in card.text and "0.000 [" not in card.text
    assert (folder / "learning_curve.png").read_bytes().startswith(b"\x89PNG")


def test_eval_results_are_the_clients_entries(folder: Path) -> None:
    content = yaml.safe_load((folder / ".eval_results" / "cambridge.yaml").read_text())
    entries = parse_eval_result_entries(content)
    assert len(entries) == 4
    assert all(isinstance(e, EvalResultEntry) and e.dataset_id == "me/cambridge" for e in entries)
    assert "policy_optimisation_combined" in {e.task_id for e in entries}
    assert all("95 % interval" in e.notes for e in entries)


def test_data_without_a_hub_id_has_no_eval_results(trained: Path, tmp_path: Path) -> None:
    assert main([str(trained), "--out", str(tmp_path / "out"), *NAMES[:2]]) == 0
    assert not (tmp_path / "out" / ".eval_results").exists()
    assert ModelCard.load(tmp_path / "out" / "README.md").data.datasets is None


def test_the_same_export_twice_is_the_same_bytes(
    folder: Path, trained: Path, tmp_path: Path
) -> None:
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    assert main([str(trained), "--out", str(folder), *NAMES]) == 0
    assert {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()} == before


def test_top_exports_each_by_its_id(trained: Path, tmp_path: Path) -> None:
    assert main([str(trained), "--out", str(tmp_path / "out"), "--top", "2", *NAMES]) == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["0000", "0001"]


def test_a_foreign_folder_is_not_replaced(
    trained: Path, tmp_path: Path, refuse: Callable[..., str]
) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    assert "--out must be a new or empty folder" in refuse(trained, "--out", tmp_path, *NAMES)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_scores_of_another_adapter_are_refused(
    trained: Path, tmp_path: Path, refuse: Callable[..., str]
) -> None:
    scores = {"split": "test", "states": "gold", "n_dialogues": 3, "intervals": {}}
    scores |= dict.fromkeys(("bleu", "inform", "success", "combined"), 50.0)
    path = tmp_path / "scores.json"
    path.write_text(json.dumps({**scores, "adapter_sha256": "0"}))
    arguments = (trained, "--out", tmp_path / "out", "--scores", path, *NAMES)
    assert "of the adapter exported" in refuse(*arguments)
    path.write_text(json.dumps({**scores, "split": "validation"}))
    assert "must be of the test split" in refuse(*arguments)


@pytest.mark.parametrize(
    ("decoding", "spelt"),
    [
        ({}, {"do_sample": False, "num_beams": 1, "max_new_tokens": 80}),
        (
            {"decoding": "sampling", "temperature": 0.7},
            {"do_sample": True, "temperature": 0.7, "top_k": 0, "top_p": 1.0},
        ),
        (
            {"decoding": "beam", "num_beams": 4, "length_penalty": -0.5},
            {"num_beams": 4, "length_penalty": -0.5, "do_sample": False},
        ),
        (
            {"placeholder_bias": 1.5},
            {"sequence_bias": [[[7], 1.5], [[9], 1.5]], "do_sample": False},
        ),
        (
            {"decoding": "contrastive", "penalty_alpha": 0.6, "top_k": 4},
            {"penalty_alpha": 0.6, "top_k": 4},
        ),
    ],
)
def test_the_decoding_survives_its_file(decoding: dict, spelt: dict, tmp_path: Path) -> None:
    config = TrialConfig(quantisation="fp32", method="none", **decoding)
    special = SpecialIds(prefix=(1,), eos=2, pad=0, openers=(7, 9))
    tokens = Tokens(tokenizer=None, special=special, config=config)
    spell_generation(config, tokens).to_json_file(tmp_path / "generation_config.json")
    read = GenerationConfig.from_pretrained(tmp_path).to_dict()
    assert {name: read.get(name) for name in spelt} == spelt
    assert (read["eos_token_id"], read["pad_token_id"]) == (2, 0)


def test_a_chat_s_card_asks_by_the_template_what_the_engine_reads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(EMBEDDED_FOLDER)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokenizer.chat_template = CHATML
    model = AutoModelForCausalLM.from_pretrained(EMBEDDED_FOLDER)
    model.resize_token_embeddings(len(tokenizer))
    fields = {"corpus": "cambridge", "layout": "chat", "instruction": "Be brief."}
    decoding = {"context": "history+state+db", "max_new_tokens": 8}
    config = TrialConfig(quantisation="fp32", method="none", **fields, **decoding)
    special = find_special(config, tokenizer, (), tokenizer.eos_token_id)
    ids = SpecialIds(prefix=(), eos=special.eos, pad=0, openers=())
    spell_generation(config, Tokens(tokenizer=tokenizer, special=ids, config=config)).to_json_file(
        tmp_path / "generation_config.json"
    )
    (dialogue,) = validation_subset(load_corpus("cambridge").get_split("validation"), 1)
    responses = {dialogue.id: [{"response": "x"}] * len(dialogue.turns)}
    example = pick_example(config, special.chat, "validation", responses)
    assert [m["role"] for m in example.messages] == ["system", "user", "assistant", "user"]
    code = show_pipeline(example, (), str(tmp_path), config)
    capsys.readouterr()
    exec(code.strip("`").removeprefix("python"), {"model": model, "tokenizer": tokenizer})
    read: list[int] = []
    for segment in example.segments:
        read += tokenizer(segment.text, add_special_tokens=False).input_ids
        read += [special.eos] * segment.is_target
    settings = GenerationConfig.from_pretrained(tmp_path)
    made = model.generate(input_ids=torch.tensor([read]), generation_config=settings)
    reply = tokenizer.decode(made[0, len(read) :], skip_special_tokens=True)
    assert capsys.readouterr().out.strip() == reply.strip()


def test_the_card_says_placeholders_that_are_special_tokens() -> None:
    assert "skip_special_tokens=True" in show_reply("made[0]", ())[0]
    code = "\n".join(show_reply("made[0]", (0, 2)))
    said: list[list[int]] = []
    tokenizer = SimpleNamespace(decode=lambda ids: said.append(ids) or " [name] ")
    exec(code, {"made": np.array([[7, 0, 9, 2]]), "tokenizer": tokenizer})
    assert said == [[7, 9]]
