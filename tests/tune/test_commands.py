"""status, stop and clone against a sweep that runs on a real Ray, from processes of their own."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest
from test_search import summarise
from test_storage import watch
from test_sweep import run

from analysis.records import read_sweep
from tune.folder.requests import read_requests
from tune.run import main

pytestmark = pytest.mark.usefixtures("local_ray")


def ask(storage: Path, command: str, *arguments: str) -> subprocess.CompletedProcess:
    line = [sys.executable, "-m", f"tune.{command}", *arguments, "--storage", str(storage)]
    return subprocess.run(line, capture_output=True, text=True, timeout=120)


class Asker:
    """Asks in the background once so many evaluations are recorded."""

    def __init__(self, storage: Path, after: int, *questions: tuple[str, ...]) -> None:
        self.storage, self.questions = storage, questions
        self.answers: list[subprocess.CompletedProcess] = []
        self.thread: threading.Thread = watch(storage / "s", after, self.ask_all)

    def ask_all(self) -> None:
        self.answers += [ask(self.storage, *question) for question in self.questions]

    def join(self) -> list[subprocess.CompletedProcess]:
        self.thread.join(timeout=120)
        return self.answers


@pytest.mark.slow
def test_a_trial_is_stopped_amid_its_work_and_a_clone_takes_part(tmp_path: Path) -> None:
    """The first milestone is 20 s away: the worker is not waited for."""
    questions = (
        ("status", "s", "--once"),
        ("stop", "s", "0000"),
        ("clone", "s", "0001", "--set", "lora_rank=32"),
        ("stop", "s", "0000"),
    )
    asker = Asker(tmp_path, 1, *questions)
    flags = ("--trials", "2", "--concurrent", "2", "--rungs", "100", "--eval-dialogues", "5,5")
    code, folder = run(tmp_path, *flags, "--train-turns", "125", base_model="toy:0.05")
    status, stopped, cloned, again = asker.join()
    records = read_sweep(folder)
    assert code == 0 and status.returncode == stopped.returncode == cloned.returncode == 0
    assert "driven by process" in status.stdout and "running of 2" in status.stdout
    assert stopped.stdout == (
        "trial 0000 is stopped (stopped by request before its first evaluation)\n"
    )
    assert "is the clone of 0001; it lies outside the space" in cloned.stdout
    assert again.returncode == 1 and "has ended already: PRUNED" in again.stderr
    first, second, clone = records.searched
    assert first.state == "PRUNED" and not first.evals
    assert second.state in ("COMPLETE", "PRUNED") and second.evals
    assert clone.evals and clone.config["lora_rank"] == 32


@pytest.mark.slow
def test_a_packed_sweep_takes_clones_its_engines_can_hold_and_stops(tmp_path: Path) -> None:
    questions = (
        ("clone", "s", "0000", "--set", "lora_rank=100", "--warm"),
        ("clone", "s", "0000", "--set", "method=full"),
        ("clone", "s", "0000", "--set", "quantisation=fp4"),
        ("stop", "s"),
    )
    asker = Asker(tmp_path, 6, *questions)  # 0000 is among them, whoever starts first
    flags = ("--trials", "9", "--pack", "2", "--asha", "off", "--train-turns", "1000")
    code, folder = run(tmp_path, *flags, base_model="toy:0.004")
    warm, full, other_base, stopped = asker.join()
    assert code == 0 and warm.returncode == 0 and stopped.returncode == 0
    assert "method=full trains the base model itself" in full.stderr
    assert "no engine holds its base model" in other_base.stderr
    records = read_sweep(folder)
    assert len(records.searched) < 9 and records.is_running
    held = read_sweep(folder).count_states()
    assert set(held) <= {"COMPLETE", "RUNNING"}
    assert main(["--resume", "s", "--storage", str(tmp_path)]) == 0
    records = read_sweep(folder)
    assert records.count_states() == {"COMPLETE": 10}
    assert next(t for t in records.searched if t.origin).config["lora_rank"] == 100


@pytest.mark.slow
def test_a_clone_asked_for_while_nobody_drives_is_made_by_resume(
    tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    _, folder = run(tmp_path, "--trials", "2", "--concurrent", "1")
    before = summarise(read_sweep(folder))
    waiting = ask(tmp_path, "clone", "s", "0000", "--set", "learning_rate=0.004")
    assert waiting.returncode == 0 and "is made by python -m tune.run --resume s" in waiting.stdout
    refused = ask(tmp_path, "stop", "s")
    assert refused.returncode == 2 and "s is not running" in refused.stderr
    wrong = ask(tmp_path, "clone", "s", "0009", "--set", "learning_rate=0.004")
    assert wrong.returncode == 2 and "there are 0000, 0001" in wrong.stderr
    assert "finished" in ask(tmp_path, "status", "s", "--once").stdout
    assert main(["--resume", "s", "--storage", str(tmp_path)]) == 0
    records = read_sweep(folder)
    assert summarise(records)[:-1] == before
    assert records.searched[-1].config["learning_rate"] == 0.004
    assert records.searched[-1].evals and not read_requests(folder)
    assert "trial 0002 is the clone of 0000" in capfd.readouterr().out


@pytest.mark.slow
def test_a_budget_ends_the_sweep_and_more_of_it_goes_on(
    tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    flags = ("--trials", "3", "--concurrent", "1", "--asha", "off", "--no-baseline")
    code, folder = run(tmp_path, *flags, "--max-hours", "1e-9")
    out = capfd.readouterr().out
    command = f"python -m tune.run --resume s --storage {tmp_path} --max-hours N"
    assert code == 0 and f"of 1e-09 hours are spent: go on with {command}" in out
    resume = ["--resume", "s", "--storage", str(tmp_path)]
    assert main(resume) == 0 and "hours are spent" in capfd.readouterr().out
    assert main([*resume, "--max-hours", "0"]) == 0
    assert read_sweep(folder).count_states() == {"COMPLETE": 3}
    assert "hours are spent" not in capfd.readouterr().out


@pytest.mark.slow
def test_too_many_failures_end_the_sweep_with_an_error(
    tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    """Ranks above 512 do not fit the toy's memory."""
    space = tmp_path / "heavy.py"
    space.write_text(
        "from optuna.distributions import IntDistribution\n"
        "from search_spaces.space import Space\n"
        "SPACE = Space(name='heavy', question='?', first=({'lora_rank': 8},),\n"
        "              searched={'lora_rank': IntDistribution(8, 1024)})\n"
    )
    flags = ["--space", str(space), "--profile", "tiny", "--set", "base_model=toy"]
    flags += ["--trials", "40", "--concurrent", "1", "--max-failed-trials", "2"]
    assert main([*flags, "--storage", str(tmp_path), "--name", "s"]) == 1
    error = capfd.readouterr().err
    assert "3 trials failed, and no more than 2 may: go on with python -m tune.run" in error
    records = read_sweep(tmp_path / "s")
    assert records.count_states()["FAIL"] == 3
    assert all("out of memory" in (t.reason or "") for t in records.searched if t.state == "FAIL")
