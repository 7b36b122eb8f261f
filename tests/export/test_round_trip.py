"""The card's own code, verbatim, in a process without our packages, off a Hub on loopback: the
replies that the engine gave at validation."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hub_stand_in import TOKEN, serve
from huggingface_hub import HfApi, constants

from analysis.records import read_sweep
from trainable.corpus.load import load_corpus
from trainable.corpus.prompt import render
from trainable.corpus.subset import validation_subset
from trainable.evaluation.validation import load_evaluator
from trainable.model.source import EMBEDDED_FOLDER
from trainable.storage.checkpoint import read_evaluation
from tune.export.choice import Choice, choose_trials
from tune.export.command import main
from tune.export.push import Target, push_folder

BASE, REPO = "me/tiny", "user/dialogue"
METRICS = ("bleu", "inform", "success", "combined")
CHECKS = """
import json, os, sys
assert not {"trainable", "tune", "analysis"} & set(sys.modules)
made_here = [piped, replies[0]]
for conversation in json.load(open(sys.argv[1])):
    replies = []
ASK
    made_here += replies
json.dump(made_here, open(sys.argv[2], "w"))
"""


@pytest.fixture(scope="module")
def chosen(trained: Path) -> Choice:
    (choice,) = choose_trials(read_sweep(trained), trial=None, metric="combined", top=1)
    return choice


@pytest.fixture(scope="module")
def folders(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The adapter, and the whole model."""
    out = tmp_path_factory.mktemp("round")
    wanted = [str(trained), "--base-model-id", BASE, "--repo", REPO, "--dry-run"]
    assert main([*wanted, "--out", str(out / "adapter")]) == 0
    assert main([*wanted, "--out", str(out / "merged"), "--merged"]) == 0
    return {name: out / name for name in ("adapter", "merged")}


def conversations(choice: Choice, responses: dict[str, Any]) -> tuple[list[Any], list[str]]:
    """Everything in front of each validation reply, as the card spells it, and the reply."""
    corpus = load_corpus(choice.config.corpus)
    dialogues = validation_subset(corpus.get_split("validation"), len(responses))
    asked, replies = [], []
    for dialogue in dialogues:
        segments = [(s.text, s.is_target) for s in render(dialogue, choice.config, corpus.database)]
        for turn, response in enumerate(responses[dialogue.id]):
            asked.append(segments[: 2 * turn + 1])
            replies.append(response["response"])
    return asked, replies


def compose_script(card: str) -> str:
    """The card's blocks for loading, for `pipeline` and for asking as it was scored, then its
    asking again for every conversation."""
    load, use, ask = re.findall(r"```python\n(.*?)```", card, flags=re.DOTALL)
    load += use.replace("print(", "piped = (")
    asking = ask.replace("print(", "replies.append(")
    loop = asking[asking.index("ids = [") :]
    indented = "".join(f"    {line}\n" for line in loop.splitlines())
    return f"{load}\nreplies = []\n{asking}{CHECKS.replace('ASK', indented)}"


def run_script(script: str, folder: Path, asked: list[Any], tmp_path: Path) -> list[str]:
    """The replies made by plain transformers and peft, downloading from the stand-in."""
    (tmp_path / "asked.json").write_text(json.dumps(asked))
    (tmp_path / "card.py").write_text(script)
    with pytest.MonkeyPatch.context() as patch, serve() as hub:
        patch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        base = {p.name: p.read_bytes() for p in EMBEDDED_FOLDER.iterdir()}
        hub.put(BASE, {**base, ".gitattributes": b""})
        api = HfApi(endpoint=hub.url, token=TOKEN)
        push_folder(api, folder, Target(repo=REPO), "Trial")
        env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
        ours = {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path), "HF_TOKEN": TOKEN}
        done = subprocess.run(
            [sys.executable, "-P", "card.py", "asked.json", "made.json"],
            cwd=tmp_path,
            env={**env, **ours, "OMP_NUM_THREADS": "1", "HF_HUB_DISABLE_XET": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    made: list[str] = json.loads((tmp_path / "made.json").read_text())
    return made


def score(choice: Choice, replies: dict[str, list[dict[str, str]]]) -> dict[str, float]:
    config = choice.config
    evaluator = load_evaluator(config.corpus, "validation", len(replies), config.response)
    scores = evaluator.score(replies)
    return {metric: getattr(scores, metric) for metric in METRICS}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["adapter", "merged"])
def test_the_card_gives_the_recorded_replies(
    kind: str, folders: dict[str, Path], chosen: Choice, tmp_path: Path
) -> None:
    evaluation = read_evaluation(chosen.checkpoint)
    asked, recorded = conversations(chosen, evaluation.responses)
    card = (folders[kind] / "README.md").read_text()
    piped, example, *made = run_script(compose_script(card), folders[kind], asked, tmp_path)
    assert made == recorded
    assert piped == recorded[0]
    assert f"it answered: `{example}`" in card
    assert score(chosen, regroup(made, asked, chosen)) == {
        metric: getattr(chosen.evaluation, metric) for metric in METRICS
    }


def regroup(made: list[str], asked: list[Any], choice: Choice) -> dict[str, list[dict[str, str]]]:
    """Flat replies by their dialogues: each begins with a conversation of one piece."""
    corpus = load_corpus(choice.config.corpus)
    n_dialogues = sum(len(conversation) == 1 for conversation in asked)
    ids = iter(d.id for d in validation_subset(corpus.get_split("validation"), n_dialogues))
    grouped: dict[str, list[dict[str, str]]] = {}
    turns: list[dict[str, str]] = []
    for conversation, reply in zip(asked, made, strict=True):
        if len(conversation) == 1:
            turns = grouped.setdefault(next(ids), [])
        turns.append({"response": reply})
    return grouped


def test_the_merge_is_measured(folders: dict[str, Path]) -> None:
    folder = folders["merged"]
    figures = json.loads((folder / "trial.json").read_text())["merged"]
    assert figures["dtype"] == "float32"
    assert figures["replies_as_recorded"] == 1.0
    other = figures["original_weights"]
    assert 0.01 < other["weight_distance"] < 0.2
    assert other["kl_nats_per_token"] > 0
    assert 0 <= other["same_replies"] <= 1
    card = (folder / "README.md").read_text()
    assert f"{other['weight_distance']:.1%}" in card
    assert "100.0% are those recorded" in card
    assert "base_model_relation: finetune" in card and "library_name: transformers" in card
    assert (folder / "model.safetensors").is_file() and "from peft" not in card


@pytest.mark.slow
def test_a_local_base_goes_out_merged_alone(trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main([str(trained), "--out", str(out), "--merged"]) == 0
    assert not (out / "adapter_config.json").exists()
    assert (out / "model.safetensors").is_file()
    card = (out / "README.md").read_text()
    assert "PeftModel" not in card
    assert "library_name: transformers" in card
