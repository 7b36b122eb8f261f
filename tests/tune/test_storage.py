"""A disk that is full, or a storage that is away, pauses a sweep: nothing is torn, it goes on."""

import errno
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from drivers import compute_undisturbed
from inline import make_config, open_search, run_inline
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from test_search import summarise
from test_sweep import run

from analysis.records import SweepRecords, read_sweep
from trainable.result import ValidationRequest
from trainable.storage import checkpoint
from trainable.storage.checkpoint import is_whole
from trainable.system import retries as storage
from trainable.system.retries import StorageFault, find_errno, retry_io
from trainable.worker import entry
from trainable.worker.lease import Report
from tune.folder.mirror import Mirror
from tune.folder.recorder import Recorder
from tune.plan import checks
from tune.run import main
from tune.workers.bridge import keep_fault

FULL = OSError(errno.ENOSPC, "No space left on device")


class Failing:
    """Raises the errors in turn, then works."""

    def __init__(self, *errors: Exception) -> None:
        self.errors, self.calls = list(errors), 0

    def __call__(self, *_: Any, **__: Any) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"


def test_a_storage_that_is_away_is_tried_again_and_a_full_one_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(storage, "PAUSE_S", 0.01)
    said: list[str] = []
    away = [OSError(errno.ESTALE, "stale"), OSError(errno.EIO, "broken")]
    assert retry_io(Failing(*away), said.append) == "done"
    assert "does not answer (Stale file handle): trying again" in said[0] and "back" in said[1]
    full = Failing(FULL)
    with pytest.raises(StorageFault, match="No space left"):
        retry_io(full)
    assert full.calls == 1
    with pytest.raises(StorageFault, match="Input/output error"):
        retry_io(Failing(*away[1:] * 999), patience_s=0.05)
    with pytest.raises(ZeroDivisionError):
        retry_io(Failing(ZeroDivisionError()))


def test_writers_that_hide_the_number_are_understood() -> None:
    safetensors = "Error while serializing: I/O error: No space left on device (os error 28)"
    assert find_errno(RuntimeError(safetensors)) == errno.ENOSPC
    assert find_errno(RuntimeError("PytorchStreamWriter failed: No space left on device")) == 28
    assert find_errno(RuntimeError("shape mismatch")) is None


def test_what_was_written_of_an_event_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder, path = Recorder(tmp_path), tmp_path / "evals.jsonl"
    recorder.record_note("one")
    monkeypatch.setattr(os, "fsync", Failing(FULL))
    with pytest.raises(StorageFault):
        recorder.record_note("never safe")
    monkeypatch.undo()
    recorder.record_note("two")
    lines = path.read_text().splitlines()
    assert len(lines) == 2 and '"one"' in lines[0] and '"two"' in lines[1]


def test_a_storage_that_is_away_is_not_taken_for_an_empty_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "PAUSE_S", 0.01)
    folder, said = tmp_path / "s", []
    recorder = Recorder(folder, say=said.append)
    recorder.record_note("before")
    folder.rename(tmp_path / "away")
    threading.Timer(0.1, lambda: (tmp_path / "away").rename(folder)).start()
    recorder.record_note("after")
    assert "does not answer" in said[0] and "is back" in said[1]
    assert len((folder / "evals.jsonl").read_text().splitlines()) == 2


def test_a_mirror_that_fails_for_a_moment_is_told_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "PAUSE_S", 0.01)
    config, space = make_config(tmp_path, trials=1)
    search, _ = open_search(config, space)
    mirror = Mirror(config.folder, config.name, space)
    search.recorder.listeners.append(mirror)
    acquire = JournalFileOpenLock.acquire
    missing = FileNotFoundError(errno.ENOENT, "No such file or directory")
    flaky = Failing(*[missing] * 3)

    def wait(lock: JournalFileOpenLock) -> bool:
        flaky()
        return acquire(lock)

    monkeypatch.setattr(JournalFileOpenLock, "acquire", wait)
    run_inline(search)
    assert not flaky.errors
    kept = JournalStorage(JournalFileBackend(str(mirror.path)))
    assert [t.state.name for t in kept.get_all_trials(0)] == ["COMPLETE"]


def test_a_draft_gives_its_room_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, space = make_config(tmp_path, trials=1, baseline=False)
    search, _ = open_search(config, space)
    lease = search.lease()
    assert lease is not None
    finetuner = entry.open_finetuner(lease.config, "cpu")
    finetuner.train_until(400)
    evaluation = finetuner.evaluate(ValidationRequest(5))
    monkeypatch.setattr(checkpoint, "_fingerprint", Failing(FULL))
    with pytest.raises(OSError):
        checkpoint.write_checkpoint(lease.checkpoints, finetuner, evaluation)
    assert not list(lease.checkpoints.iterdir())


@pytest.mark.usefixtures("local_ray")
def test_a_worker_without_room_tells_the_search_and_its_trial_is_not_to_blame(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, space = make_config(tmp_path, trials=1, baseline=False)
    search, _ = open_search(config, space)
    lease = search.lease()
    monkeypatch.setattr(entry, "write_checkpoint", Failing(FULL))
    report = entry.DialogueTrial({"lease": lease}).step()["report"]
    assert report.lost == "No space left on device" and report.failure is None
    with keep_fault(search):
        search.report(report)
    assert isinstance(search.fault, StorageFault)
    assert search.trials["0000"].state == "QUEUED" and search.lease() is None
    assert read_sweep(config.folder).searched[0].state == "RUNNING"


def test_a_missing_or_infinite_number_fails_the_trial_with_its_name(tmp_path: Path) -> None:
    config, space = make_config(tmp_path, trials=3, baseline=False)
    search, _ = open_search(config, space)
    search.room = 3
    for name, value in (("combined", None), ("loss_nats", float("nan")), ("bleu", float("inf"))):
        lease = search.lease()
        assert lease is not None
        evaluation = entry.open_finetuner(lease.config, "cpu").evaluate(ValidationRequest(3))
        object.__setattr__(evaluation.result, name, value)
        search.report(Report(trial=lease.trial, evaluation=evaluation))
    reasons = [t.reason for t in read_sweep(config.folder).searched]
    assert reasons[0] == "the worker reported no combined"
    assert reasons[1:] == ["loss_nats is nan after 0 turns", "bleu is inf after 0 turns"]


def test_a_sweep_that_does_not_fit_is_refused_before_it_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(checks.shutil, "disk_usage", lambda _: usage._replace(free=10**6))
    flags = ("--space", "lora_modules", "--profile", "tiny", "--set", "base_model=toy")
    assert main([*flags, "--storage", str(tmp_path), "--name", "s"]) == 2
    error = capsys.readouterr().err
    assert "free for the sweep's checkpoints, and has 1.0 MiB" in error and error.count("\n") == 1
    assert not (tmp_path / "s").exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=300m", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no right to mount a small disk")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def watch(folder: Path, n_evals: int, act: Callable[[], object]) -> threading.Thread:
    """Acts once so many evaluations are recorded."""

    def wait() -> None:
        path = folder / "evals.jsonl"
        while not path.exists() or path.read_text().count('"event": "eval"') < n_evals:
            time.sleep(0.01)
        act()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def fill(disk: Path, left_bytes: int) -> None:
    with (disk / "filler").open("wb", buffering=0) as file:
        while (free := shutil.disk_usage(disk).free) > left_bytes:
            file.write(bytes(min(free - left_bytes, 2**22)))


def check_untorn(folder: Path) -> SweepRecords:
    records = read_sweep(folder)
    assert not records.warnings
    for place in (folder / "checkpoints").glob("*/*"):
        assert is_whole(place)
    return records


@pytest.mark.parametrize(
    ("writer", "code", "words"),
    [
        ("tune.driver.header.write_header", 1, "the same command begins again"),
        ("tune.driver.header.write_whole", 1, "the same command begins again"),
        ("tune.folder.lock.write_json", 2, "give the same command again"),
    ],
)
def test_a_disk_that_is_full_before_the_first_word_leaves_the_name_free(
    tmp_path: Path,
    writer: str,
    code: int,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
) -> None:
    command = ["--space", "lora_modules", "--profile", "tiny", "--name", "s", "--trials", "2"]
    command += ["--set", "base_model=toy", "--storage", str(tmp_path)]
    with monkeypatch.context() as patched:
        patched.setattr(writer, Failing(FULL))
        assert main(command) == code
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "No space left on device" in error and words in error
    monkeypatch.setattr("tune.driver.sweep.run_on_ray", lambda *_: None)
    assert main(command) == 1  # "Ray Tune ended while there was work left"
    assert (tmp_path / "s" / "sweep.yaml").exists() and read_sweep(tmp_path / "s").name == "s"


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
@pytest.mark.parametrize(
    ("pack", "left_bytes"), [pytest.param("1", 0, marks=pytest.mark.nightly), ("2", 30_000)]
)
def test_a_full_disk_pauses_the_sweep_and_room_lets_it_go_on(
    small_disk: Path, tmp_path: Path, capfd: pytest.CaptureFixture, pack: str, left_bytes: int
) -> None:
    flags = ("--trials", "5", "--concurrent", "1", "--pack", pack, "--asha", "off")
    whole = compute_undisturbed(tmp_path, "toy:0.001", trials=5, asha="off")
    thread = watch(small_disk / "s", 5, lambda: fill(small_disk, left_bytes))
    capfd.readouterr()
    code, folder = run(small_disk, *flags, base_model="toy:0.001")
    thread.join()
    out, err = capfd.readouterr()
    assert code == 1, out + err
    assert err == f"{folder} cannot be written (No space left on device): paused; go on with " + (
        f"python -m tune.run --resume s --storage {small_disk}\n"
    )
    paused = check_untorn(folder)
    assert not any(t.state == "FAIL" for t in paused.trials)
    (small_disk / "filler").unlink()
    assert main(["--resume", "s", "--storage", str(small_disk)]) == 0
    assert summarise(check_untorn(folder)) == summarise(whole)


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_a_storage_away_for_seconds_holds_the_sweep_up_and_no_more(
    tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    flags = ("--trials", "4", "--concurrent", "2", "--asha", "off")
    whole = compute_undisturbed(tmp_path, "toy:0.001", trials=4, asha="off")
    folder, away = tmp_path / "s", tmp_path / "away"

    def take_away() -> None:
        folder.rename(away)
        time.sleep(4)
        away.rename(folder)

    thread = watch(folder, 4, take_away)
    code, _ = run(tmp_path, *flags, base_model="toy:0.001")
    thread.join()
    assert code == 0
    records = check_untorn(folder)
    lasting = [row[:3] + row[4:] for row in summarise(records)]
    assert lasting == [row[:3] + row[4:] for row in summarise(whole)]
