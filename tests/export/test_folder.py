"""What an exported folder holds, and what it never tells."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from huggingface_hub import EvalResultEntry, ModelCard, parse_eval_result_entries
from peft import PeftConfig
from transformers import GenerationConfig

from trainable.model.special_ids import SpecialIds
from trainable.trial import TrialConfig
from tune.export.command import main
from tune.export.snippets import show_reply
from tune.export.tokens import Tokens, spell_generation

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
        *("Loading it", "Asking it", "Intended use and limits", "Scores", "Learning curves"),
        *("Cost", "Licence"),
    ):
        assert f"## {heading}\n" in card.text
    assert "policy optimisation" in card.text
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
    tokens = Tokens(tokenizer=None, special=SpecialIds(prefix=(1,), eos=2, pad=0, openers=(7, 9)))
    spell_generation(config, tokens).to_json_file(tmp_path / "generation_config.json")
    read = GenerationConfig.from_pretrained(tmp_path).to_dict()
    assert {name: read.get(name) for name in spelt} == spelt
    assert (read["eos_token_id"], read["pad_token_id"]) == (2, 0)


def test_the_card_says_placeholders_that_are_special_tokens() -> None:
    assert "skip_special_tokens=True" in show_reply("made[0]", ())[0]
    code = "\n".join(show_reply("made[0]", (0, 2)))
    said: list[list[int]] = []
    tokenizer = SimpleNamespace(decode=lambda ids: said.append(ids) or " [name] ")
    exec(code, {"made": np.array([[7, 0, 9, 2]]), "tokenizer": tokenizer})
    assert said == [[7, 9]]
