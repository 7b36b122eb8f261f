"""tune.evaluate on what tune.export wrote: from the folder, from the Hub, and merged."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_stand_in import TOKEN, Hub, serve
from huggingface_hub import HfApi, constants

from analysis.records import read_sweep
from trainable.model.fingerprint import hash_file
from tune.evaluate import main as evaluate
from tune.export.choice import choose_trials
from tune.export.command import main as export
from tune.export.push import Target, push_folder
from tune.generate import main as generate

METRICS = ("bleu", "inform", "success", "combined")
LIKE_VALIDATION = ("--split", "validation", "--dialogues", "4", "--device", "cpu")
REPO = "user/dialogue"


@pytest.fixture(scope="module")
def folder(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("evaluated") / "out"
    assert export([str(trained), "--out", str(out), "--base-model-id", "me/tiny"]) == 0
    return out


@pytest.fixture(scope="module")
def whole(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The merged model."""
    out = tmp_path_factory.mktemp("whole") / "out"
    assert export([str(trained), "--out", str(out), "--merged"]) == 0
    return out


@pytest.fixture(scope="module")
def recorded(trained: Path) -> dict[str, float]:
    (choice,) = choose_trials(read_sweep(trained), trial=None, metric="combined", top=1)
    return {metric: getattr(choice.evaluation, metric) for metric in METRICS}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    with serve() as hub:
        yield hub


def score(tmp_path: Path, *arguments: object) -> dict[str, object]:
    out = tmp_path / "scores.json"
    assert evaluate([*map(str, arguments), "--json", str(out)]) == 0
    scores: dict[str, object] = json.loads(out.read_text())
    return scores


@pytest.mark.slow
def test_the_folder_scores_what_was_recorded(
    folder: Path, recorded: dict[str, float], tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    replies = tmp_path / "replies.json"
    arguments = ("--adapter", folder, "--base-model", "tiny", *LIKE_VALIDATION)
    scores = score(tmp_path, *arguments, "--responses", replies)
    assert {metric: scores[metric] for metric in METRICS} == recorded
    assert scores["adapter_sha256"] == hash_file(folder / "adapter_model.safetensors")
    made = tmp_path / "made.json"
    assert generate([*map(str, arguments), "--out", str(made)]) == 0
    assert json.loads(made.read_text()) == json.loads(replies.read_text())
    capsys.readouterr()
    words = ("--predictions", str(made), "--corpus", "cambridge", "--split", "validation")
    assert evaluate([*words, "--partial", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["command"] == "evaluate" and told["combined"] == recorded["combined"]
    assert scores["corpus"] == "cambridge"
    predicted = ("--predictions", replies, "--corpus", "cambridge", "--partial")
    again = score(tmp_path, *predicted, "--split", "validation")
    assert {metric: again[metric] for metric in METRICS} == recorded


@pytest.mark.slow
@pytest.mark.parametrize("flag", ["--model", "--adapter"])
def test_the_merged_model_scores_the_same(
    whole: Path, recorded: dict[str, float], tmp_path: Path, flag: str
) -> None:
    scores = score(tmp_path, flag, whole, *LIKE_VALIDATION)
    assert {metric: scores[metric] for metric in METRICS} == recorded


@pytest.mark.slow
def test_from_the_hub(
    folder: Path,
    recorded: dict[str, float],
    hub: Hub,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    push_folder(HfApi(endpoint=hub.url, token=TOKEN), folder, Target(repo=REPO), "Trial")
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("huggingface_hub.hf_api.api.endpoint", hub.url)
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(
        constants,
        "HUGGINGFACE_CO_URL_TEMPLATE",
        hub.url + "/{repo_id}/resolve/{revision}/{filename}",
    )
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    scores = score(tmp_path, "--adapter", REPO, "--base-model", "tiny", *LIKE_VALIDATION)
    assert {metric: scores[metric] for metric in METRICS} == recorded


@pytest.mark.slow
def test_test_scores_reach_the_card(folder: Path, trained: Path, tmp_path: Path) -> None:
    arguments = ("--adapter", folder, "--base-model", "tiny", "--dialogues", "3", "--device", "cpu")
    scores = score(tmp_path, *arguments)
    names = ["--base-model-id", "me/tiny", "--scores", str(tmp_path / "scores.json")]
    assert export([str(trained), "--out", str(tmp_path / "out"), *names]) == 0
    card = (tmp_path / "out" / "README.md").read_text()
    assert f"| test | 3 | policy optimisation | {scores['bleu']:.1f} [" in card
    assert "split: test" in card
    assert "has not been scored" not in card


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--adapter", "./nowhere"), "--adapter must be a folder that exists or a hub id"),
        (("--adapter", "one"), "--adapter must be of the form user/name"),
        (("--adapter", "FOLDER", "--base-model", "tiny", "--dialogues", "0"), "must lie in [1, "),
        (("--adapter", "FOLDER", "--base-model", "tiny", "--set", "rank=3"), "no field is called"),
        (
            ("--model", "tiny", "--base-model", "tiny"),
            "has no meaning without --adapter",
        ),
        (("--predictions", "x.json", "--dialogues", "3"), "--dialogues has no meaning"),
        (("--adapter", "EMPTY"), "cannot be read"),
    ],
)
def test_bad_input_is_one_line(
    folder: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    message: str,
) -> None:
    places = {"FOLDER": str(folder), "EMPTY": str(tmp_path)}
    assert evaluate([places.get(a, a) for a in arguments]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
