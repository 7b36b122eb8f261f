"""What a plan tells of a corpus's length: measured once."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from trainable.model.source import EMBEDDED_FOLDER
from trainable.trial import ConfigError, TrialConfig
from tune.plan.corpora import describe_corpora
from tune.plan.task import check_task


@pytest.fixture
def trial(tmp_path: Path) -> TrialConfig:
    """On a corpus and a copy of the embedded model."""
    asked, said = "how much is a large pot of black tea with milk ?", "it is 2 pounds ."
    turns = ({"role": "user", "content": asked}, {"role": "assistant", "content": said})
    row = json.dumps({"messages": turns})
    (tmp_path / "chats.jsonl").write_text("\n".join([row] * 20), encoding="utf-8")
    base = shutil.copytree(EMBEDDED_FOLDER, tmp_path / "base")
    return TrialConfig(
        base_model=str(base),
        corpus=str(tmp_path / "chats.jsonl"),
        response="lexicalised",
        method="none",
        quantisation="fp32",
    )


def test_tokens_are_counted_once_for_a_text_and_a_model(
    trial: TrialConfig, own_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (line, *_) = described = describe_corpora([trial])
    assert "train: 16 dialogues, 16 turns, about" in line
    monkeypatch.setattr("tune.export.tokens.load_tokens", None)  # would fail if called
    assert describe_corpora([replace(trial, seed=1)]) == described
    with pytest.raises(TypeError):
        describe_corpora([replace(trial, instruction="Be short.")])
    tokenizer = Path(trial.base_model) / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    with pytest.raises(TypeError):
        describe_corpora([trial])


def test_an_exchange_that_does_not_fit_is_refused_each_time(
    trial: TrialConfig, own_cache: Path
) -> None:
    for _ in range(2):
        with pytest.raises(ConfigError, match="more than max_length_tokens=16"):
            describe_corpora([replace(trial, max_length_tokens=16)])


def test_how_many_turns_have_acts_is_told(
    trial: TrialConfig, small_folder: Path, own_cache: Path
) -> None:
    acts = replace(
        trial, corpus=str(small_folder), target="acts+response", response="delexicalised"
    )
    assert describe_corpora([acts])[-1] == (
        f"corpus {small_folder}: turns whose acts are known: train 2 of 4, validation 1 of 2, "
        "test 2 of 4; a plan of the others is their placeholders"
    )
    check_task([acts])
    path = small_folder / "dialog_acts.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"dialog_act": {"', '"told": {"'))
    with pytest.raises(ConfigError, match=r"does not tell what the system does.*plan\+response"):
        check_task([acts])
