"""Checkpoints are whole or not there."""

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from trainable.result import ValidationRequest
from trainable.solo.toy import ToyFinetuner
from trainable.storage.checkpoint import (
    find_last_whole,
    is_whole,
    keep_best_and_last,
    list_checkpoints,
    read_evaluation,
    write_checkpoint,
)
from trainable.trial import TrialConfig, TrialFailed


def make_config(**fields: object) -> TrialConfig:
    values = {
        **{"base_model": "toy", "double_quantisation": True, "method": "lora", "lora_rank": 8},
        **{"alpha_over_rank": 2.0, "rslora": False, "lora_modules": "qv", "lora_dropout": 0.0},
        **{"learning_rate": 3e-3, "schedule": "constant", "warmup_turns": 0, "batch_turns": 25},
        **{"train_turns": 500, "weight_decay": 0.0, "clip_norm": 1.0},
        **fields,
    }
    return TrialConfig.from_dict(values)


def save_at(folder: Path, *turns: int) -> ToyFinetuner:
    toy = ToyFinetuner(make_config())
    for milestone in turns:
        toy.train_until(milestone)
        write_checkpoint(folder, toy, toy.evaluate(ValidationRequest(10)))
    return toy


def test_the_toy_resumed_equals_uninterrupted(tmp_path: Path) -> None:
    straight = save_at(tmp_path / "a", 100, 300)
    save_at(tmp_path / "b", 100)
    resumed = ToyFinetuner(make_config(), start=find_last_whole(tmp_path / "b")[0].path)
    resumed.train_until(300)
    assert asdict(resumed.evaluate(ValidationRequest(20))) == asdict(
        straight.evaluate(ValidationRequest(20))
    )


def test_the_toy_s_result_is_what_its_dialogues_say() -> None:
    toy = ToyFinetuner(make_config())
    toy.train_until(500)
    evaluation = toy.evaluate(ValidationRequest(40))
    inform = [d["inform"] for d in evaluation.dialogues.values()]
    assert evaluation.result.inform == 100 * sum(inform) / 40
    assert set(evaluation.responses) == set(evaluation.dialogues)
    assert json.dumps(asdict(evaluation), allow_nan=False)


def test_the_toy_diverges_and_runs_out_of_memory() -> None:
    with pytest.raises(TrialFailed, match="nan"):
        ToyFinetuner(make_config(learning_rate=0.7)).train_until(100)
    with pytest.raises(TrialFailed, match="out of memory"):
        ToyFinetuner(make_config(lora_rank=1024)).train_until(100)


def test_an_evaluation_comes_back_equal(tmp_path: Path) -> None:
    toy = save_at(tmp_path, 100)
    checkpoint, notes = find_last_whole(tmp_path)
    assert read_evaluation(checkpoint.path) == toy.evaluate(ValidationRequest(10)) and not notes


@pytest.mark.parametrize(
    ("file", "content"),
    [("toy.json", "{"), ("toy.json", None), ("manifest.json", "{"), ("manifest.json", None)],
)
def test_a_torn_checkpoint_falls_back_to_the_one_before(
    tmp_path: Path, file: str, content: str | None
) -> None:
    save_at(tmp_path, 100, 200)
    victim = tmp_path / "200" / file
    victim.unlink() if content is None else victim.write_text(content)
    checkpoint, notes = find_last_whole(tmp_path)
    assert checkpoint.turns_seen == 100
    assert len(notes) == 1 and "200 is torn" in notes[0]
    save_at(tmp_path, 100, 200)
    assert is_whole(tmp_path / "200")


def test_best_and_last_are_kept(tmp_path: Path) -> None:
    save_at(tmp_path, 100, 200, 300, 400)
    assert [c.turns_seen for c in list_checkpoints(tmp_path)] == [300, 400]
    (tmp_path / ".500-1").mkdir()
    keep_best_and_last(tmp_path, has_ended=True)
    assert [p.name for p in tmp_path.iterdir()] == ["400"]


class HeavyToy(ToyFinetuner):
    """With a file that only further training reads."""

    def save(self, folder: Path) -> None:
        super().save(folder)
        (folder / "optimizer.safetensors").write_bytes(bytes(1000))


def list_heavy(folder: Path) -> list[str]:
    return sorted(p.parent.name for p in folder.glob("*/optimizer.safetensors"))


def test_of_large_checkpoints_the_last_alone_can_be_gone_on_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The best, if it is another one, keeps its adapter; so does the last of a trial that has
    ended. All stay whole."""
    monkeypatch.setattr("trainable.storage.checkpoint.LARGE_BYTES", 900)
    toy = HeavyToy(make_config())
    for turns, score in ((100, 9.0), (200, 1.0), (300, 2.0)):
        toy.train_until(turns)
        evaluation = toy.evaluate(ValidationRequest(10))
        write_checkpoint(
            tmp_path, toy, replace(evaluation, result=replace(evaluation.result, combined=score))
        )
    assert [c.turns_seen for c in list_checkpoints(tmp_path)] == [100, 300]
    assert list_heavy(tmp_path) == ["300"]
    assert find_last_whole(tmp_path, to_train=True)[0].turns_seen == 300
    keep_best_and_last(tmp_path, has_ended=True)
    assert list_heavy(tmp_path) == [] and is_whole(tmp_path / "100") and is_whole(tmp_path / "300")
    assert find_last_whole(tmp_path)[0].turns_seen == 300
    none, notes = find_last_whole(tmp_path, to_train=True)
    assert none is None and "300 holds an adapter alone" in notes[0]
