"""Whole sweeps on a real Ray, through the command, with the toy finetuner."""

import json
import os
import signal
import threading
import time
from pathlib import Path

import optuna
import pytest
from drivers import compute_undisturbed
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from test_search import summarise

from analysis.records import SweepRecords, read_sweep
from analysis.training import read_training
from trainable.training_curve import TrainingCurve
from tune.folder.recorder import Recorder
from tune.run import main
from tune.workers import bridge

pytestmark = pytest.mark.usefixtures("local_ray")


TOY = ("--space", "lora_modules", "--profile", "tiny")


def run(storage: Path, *flags: str, base_model: str = "toy") -> tuple[int, Path]:
    toy = ("--set", f"base_model={base_model}")
    code = main([*TOY, *toy, "--storage", str(storage), "--name", "s", *flags])
    return code, storage / "s"


def curves(records: SweepRecords) -> dict[str, list[tuple[int, float]]]:
    return {t.id: [(e.turns_seen, e.combined) for e in t.evals] for t in records.trials}


@pytest.mark.slow
def test_a_sweep_records_ranks_and_prints(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    code, folder = run(tmp_path, "--trials", "8", "--concurrent", "2")
    records = read_sweep(folder)
    counts = records.count_states()
    assert code == 0 and sum(counts.values()) == 8 and counts["PRUNED"] >= 2
    assert all(t.resolved and t.last.place["pid"] for t in records.trials)
    out, err = capfd.readouterr()
    assert "the leaderboard" in out and not err
    assert not any(word in out for word in ("ray.", "WARNING", "Traceback", "Tune Status"))
    assert all((folder / f"leaderboard.{e}").stat().st_size for e in ("md", "csv", "parquet"))
    header = json.loads((folder / "sweep.json").read_text())
    assert header["format"] == 1 and {"ray", "optuna", "python"} <= set(header["versions"])


@pytest.mark.slow
def test_the_mirror_tells_what_the_records_tell(tmp_path: Path) -> None:
    _, folder = run(tmp_path, "--trials", "5", "--concurrent", "1")
    storage = JournalStorage(JournalFileBackend(str(folder / "optuna.journal")))
    study = optuna.load_study(study_name="s", storage=storage)
    records = read_sweep(folder)
    assert [t.state.name for t in study.trials] == [t.state for t in records.searched]
    assert [dict(t.params) for t in study.trials] == [dict(t.params) for t in records.searched]
    for mirrored, trial in zip(study.trials, records.searched, strict=True):
        steps = {e.turns_seen: e.combined for e in trial.replied}
        assert mirrored.intermediate_values == steps
        losses = {
            f"nats_per_word at {e.turns_seen} turns": e.nats_per_word
            for e in trial.evals
            if e.combined is None
        }
        assert losses and losses.items() <= mirrored.user_attrs.items()
        assert (mirrored.value is None) == (trial.state != "COMPLETE")
        assert {"nats_per_word", "train_s"} <= mirrored.user_attrs.keys()
    notes = storage.get_study_system_attrs(0)
    assert "The untuned base model:\n\n| metric" in notes["dashboard:note_str:0"]
    assert "| nats_per_word | " in notes["dashboard:4:note_str:0"]


@pytest.mark.nightly
@pytest.mark.parametrize("pack", ["1", "2"])
def test_training_is_seen_between_evaluations(
    tmp_path: Path, pack: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bridge, "CURVES_S", 0.1)
    seen: list[tuple[int, int]] = []  # turns of a curve, and of the last evaluation before it
    keep_curve = Recorder.keep_curve

    def keep(recorder: Recorder, trial: str, curve: TrainingCurve | None) -> None:
        assert curve is not None
        keep_curve(recorder, trial, curve)
        (record,) = read_sweep(recorder.folder).searched
        points = read_training(recorder.folder, trial)
        seen.append((points[-1].turns_seen, max((e.turns_seen for e in record.evals), default=0)))

    monkeypatch.setattr(Recorder, "keep_curve", keep)
    flags = ("--trials", "1", "--asha", "off", "--no-baseline", "--train-turns", "900")
    run(tmp_path, *flags, "--pack", pack, base_model="toy:0.02")
    assert any(0 < evaluated < trained < 900 for trained, evaluated in seen)
    assert seen == sorted(seen)


@pytest.mark.slow
def test_packed_trials_learn_what_lone_ones_do(tmp_path: Path) -> None:
    flags = ("--trials", "6", "--asha", "off", "--no-baseline")
    slow = "toy:0.0005"  # so that one does not end before the next begins
    alone = compute_undisturbed(tmp_path, slow, trials=6, asha="off", baseline=False)
    _, packed = run(tmp_path / "packed", *flags, "--pack", "3", base_model=slow)
    assert curves(read_sweep(packed)) == curves(alone)
    places = [e.place for t in read_sweep(packed).trials for e in t.evals]
    assert len({p["slot"] for p in places}) > 1
    assert len({p["engine_pid"] for p in places}) == 1


@pytest.mark.slow
def test_trials_that_fail_are_recorded_and_all_failing_is_an_error(
    tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    code, folder = run(tmp_path, "--trials", "2", "--set", "learning_rate=0.9")
    assert code == 1
    assert {t.state for t in read_sweep(folder).searched} == {"FAIL"}
    assert "all 2 trials failed" in capfd.readouterr().err


@pytest.mark.slow
def test_a_finished_sweep_resumed_does_nothing_and_more_trials_extend_it(
    tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    """Under stop; who is not promoted at a sweep's end is out of it, also of one that goes on."""
    flags = ("--concurrent", "1", "--asha", "stop")
    _, folder = run(tmp_path, "--trials", "3", *flags)
    before = (folder / "evals.jsonl").read_bytes(), (folder / "sweep.json").read_bytes()
    assert main(["--resume", "s", "--storage", str(tmp_path)]) == 0
    assert "is finished" in capfd.readouterr().out
    after = (folder / "evals.jsonl").read_bytes(), (folder / "sweep.json").read_bytes()
    assert after == before
    assert main(["--resume", "s", "--storage", str(tmp_path), "--trials", "5"]) == 0
    _, reference = run(tmp_path / "whole", "--trials", "5", *flags)
    assert summarise(read_sweep(folder)) == summarise(read_sweep(reference))


KILLED = [
    ("pid", "1"),
    pytest.param("pid", "2", marks=pytest.mark.nightly),
    pytest.param("engine_pid", "2", marks=pytest.mark.nightly),
]


class Killer(threading.Thread):
    """Kills the process that made the n-th evaluation, once it is recorded."""

    def __init__(self, folder: Path, which: str, after: list[int]) -> None:
        super().__init__(daemon=True)
        self.folder, self.which, self.after, self.killed = folder, which, after, 0

    def run(self) -> None:
        deadline = time.monotonic() + 120
        while self.after and time.monotonic() < deadline:
            time.sleep(0.05)
            path = self.folder / "evals.jsonl"
            lines = path.read_text().splitlines() if path.exists() else []
            evals = [json.loads(line) for line in lines if '"event": "eval"' in line]
            if len(evals) >= self.after[0]:
                self.after.pop(0)
                try:
                    os.kill(evals[-1]["place"][self.which], signal.SIGKILL)
                    self.killed += 1
                except ProcessLookupError:
                    continue


@pytest.mark.slow
@pytest.mark.parametrize(("which", "pack"), KILLED)
def test_a_killed_worker_or_engine_loses_nothing(tmp_path: Path, which: str, pack: str) -> None:
    flags = ("--trials", "4", "--asha", "off", "--no-baseline", "--concurrent", "2")
    killer = Killer(tmp_path / "s", which, [2, 5, 8])
    killer.start()
    code, folder = run(tmp_path, *flags, "--pack", pack, base_model="toy:0.001")
    killer.join(timeout=10)
    records = read_sweep(folder)
    assert code == 0 and killer.killed >= 1
    assert records.count_states() == {"COMPLETE": 4}
    assert any("starts again from its last checkpoint" in note for note in records.notes)
    whole = compute_undisturbed(tmp_path, "toy:0.001", trials=4, asha="off", baseline=False)
    assert curves(records) == curves(whole)
