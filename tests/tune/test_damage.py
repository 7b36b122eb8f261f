"""Records that were torn, lost, doubled, edited or swapped: every line that cannot be read is told
by its number, what is left is gone on from, and no number is given out twice."""

import json
import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from inline import Killed, carry_out, make_config, open_search, run_inline
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from rich.console import Console
from test_resume import KillAfter

from analysis.leaderboard import render_markdown
from analysis.ranking import rank_trials
from analysis.records import SweepRecords, read_sweep
from analysis.report import write_report
from trainable.trial import ConfigError
from tune import run, status
from tune.folder.mirror import Mirror
from tune.folder.recorder import Recorder, replay_events
from tune.search.budget import Budget
from tune.search.search import Search
from tune.status import View

RUNGS = ("stop", "promote")
KINDS = ("trial", "resolved", "eval", "rung", "end", "note")
Lines = list[bytes]


def tear(lines: Lines, n: int) -> Lines:
    return [*lines[:n], lines[n][: len(lines[n]) // 2], *lines[n + 1 :]]


def lose(lines: Lines, n: int) -> Lines:
    return [*lines[:n], *lines[n + 1 :]]


def double(lines: Lines, n: int) -> Lines:
    return [*lines[: n + 1], lines[n], *lines[n + 1 :]]


def double_at_the_end(lines: Lines, n: int) -> Lines:
    return [*lines, lines[n]]


def swap(lines: Lines, n: int) -> Lines:
    other = (n + 1) % len(lines)
    swapped = list(lines)
    swapped[n], swapped[other] = lines[other], lines[n]
    return swapped


def swap_far(lines: Lines, n: int) -> Lines:
    return [*lines[:n], *lines[n + 1 :], lines[n]]


def mark(lines: Lines, n: int) -> Lines:
    return [*lines[:n], b"\xef\xbb\xbf" + lines[n], *lines[n + 1 :]]


def end_as_on_windows(lines: Lines, n: int) -> Lines:
    return [line + b"\r" for line in lines]


def zero(lines: Lines, n: int) -> Lines:
    return [*lines[:n], b"\0" * len(lines[n]), *lines[n + 1 :]]


def edit(**values: Any) -> Callable[[Lines, int], Lines]:
    def change(lines: Lines, n: int) -> Lines:
        event = {**json.loads(lines[n]), **values}
        return [*lines[:n], json.dumps(event).encode(), *lines[n + 1 :]]

    change.__name__ = "edit-" + "-".join(values)
    return change


UNREADABLE = (tear, zero, edit(event="evil"))
TOLD = (double, double_at_the_end, edit(event=["trial"]))
HARMLESS = (mark, end_as_on_windows)
UNNOTICED = (lose, swap, swap_far)


@pytest.fixture(autouse=True)
def _in_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trainable.solo.toy.time.sleep", lambda s: None)
    monkeypatch.setattr("tune.driver.header.read_versions", dict)
    monkeypatch.setattr("os.fsync", lambda number: None)


def make_records(storage: Path, asha: str, seeds: int) -> Path:
    """A sweep that is killed on its way: trials that ended, wait and run, and a note."""
    config, space = make_config(storage, asha=asha, seeds=seeds, trials=6)
    search, _ = open_search(config, space, (KillAfter(34),))
    search.room = 3
    search.recorder.record_note("three at a time", room=3)
    with pytest.raises(Killed):
        run_inline(search)
    return config.folder


def resume(folder: Path, asha: str, seeds: int) -> Search:
    config, space = make_config(folder.parent, asha=asha, seeds=seeds, trials=8)
    search, _ = open_search(config, space)
    search.room = 3
    return run_inline(search)


def check_whole(folder: Path, known: set[str]) -> SweepRecords:
    """Every trial has ended, is one trial only, and has a number that no other had."""
    records = read_sweep(folder)
    assert len(records.proposed) == 8 and not records.is_running
    points = [(json.dumps(t.params, sort_keys=True), t.config["seed"]) for t in records.proposed]
    assert len(set(points)) == len(points)
    begun = [e for e in list_events(folder) if e.get("event") == "trial"]
    fresh = [e["trial"] for e in begun if e["trial"] not in known]
    assert len(fresh) == len(set(fresh))
    for trial in records.proposed:
        turns = [e.turns_seen for e in trial.evals]
        assert turns == sorted(set(turns)) and trial.state in ("COMPLETE", "PRUNED")
        assert trial.state != "COMPLETE" or trial.is_evaluated_at_end
    assert len(list(replay_events(records))) >= len(records.trials)
    return records


def list_events(folder: Path) -> list[dict[str, Any]]:
    found = []
    for line in (folder / "evals.jsonl").read_bytes().splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return [e for e in found if isinstance(e, dict) and isinstance(e.get("trial", ""), str)]


def name_damage(value: Any) -> str:
    return getattr(value, "__name__", str(value))


@pytest.mark.parametrize(
    ("asha", "seeds", "n_lines"),
    [
        *((asha, 1, 1) for asha in RUNGS),
        *(pytest.param(asha, n, 9, marks=pytest.mark.nightly) for asha in RUNGS for n in (1, 2)),
    ],
)
@pytest.mark.parametrize("damage", [*UNREADABLE, *TOLD, *HARMLESS, *UNNOTICED], ids=name_damage)
def test_every_damage_at_every_kind_of_line(
    tmp_path: Path, damage: Callable[[Lines, int], Lines], asha: str, seeds: int, n_lines: int
) -> None:
    whole = (make_records(tmp_path / "whole", asha, seeds) / "evals.jsonl").read_bytes()
    lines = whole.splitlines()
    known = {e["trial"] for e in map(json.loads, lines) if "trial" in e}
    pick = random.Random(asha)
    for kind in KINDS:
        there = [n for n, line in enumerate(lines) if json.loads(line)["event"] == kind]
        assert there
        for n in pick.sample(there, min(len(there), n_lines)):
            folder = tmp_path / f"{kind}-{n}" / "s"
            folder.mkdir(parents=True)
            header = (tmp_path / "whole" / "s" / "sweep.json").read_bytes()
            (folder / "sweep.json").write_bytes(header)
            damaged = b"\n".join(damage(lines, n)) + b"\n"
            (folder / "evals.jsonl").write_bytes(damaged)
            told = read_sweep(folder).warnings
            if damage in UNREADABLE:
                assert any(f"line {n + 1} of evals.jsonl" in w for w in told), (kind, n, told)
            assert bool(told) or damage not in TOLD, (kind, n)
            assert not told or damage not in HARMLESS, (kind, n, told)
            resume(folder, asha, seeds)
            records = check_whole(folder, known)
            assert (folder / "evals.jsonl").read_bytes().startswith(damaged)
            assert not set(told) - set(records.warnings)
            show(folder)


def show(folder: Path) -> str:
    view = View(folder)
    view.look()
    console = Console(width=200, file=open("/dev/null", "w"), record=True)  # noqa: SIM115
    console.print(view.render())
    return console.export_text()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_records(tmp_path, "stop", 1)


def test_a_last_line_without_its_newline_is_a_whole_line(folder: Path) -> None:
    path = folder / "evals.jsonl"
    lines = path.read_bytes().splitlines()
    last = max(n for n, line in enumerate(lines) if json.loads(line)["event"] == "trial")
    path.write_bytes(b"\n".join(lines[: last + 1]))
    before = read_sweep(folder)
    assert json.loads(lines[last])["trial"] in [t.id for t in before.trials]
    assert not before.warnings
    resume(folder, "stop", 1)
    assert path.read_bytes().startswith(b"\n".join(lines[: last + 1]) + b"\n")
    check_whole(folder, {t.id for t in before.trials})


def test_half_a_last_line_is_cut_off(folder: Path) -> None:
    path = folder / "evals.jsonl"
    whole = path.read_bytes()
    for tail in (b'{"event": "eval", "tri', b"{", b'{"event": "note", "te\0\0\0', b"\0\0"):
        path.write_bytes(whole + tail)
        (told,) = read_sweep(folder).warnings
        assert told.startswith(f"line {len(whole.splitlines()) + 1} of evals.jsonl was not written")
        Recorder(folder)
        assert path.read_bytes() == whole


@pytest.mark.parametrize("how", ["utf-16", "carriage returns", "another's", "zeros"])
def test_what_no_driver_has_written_is_not_appended_to(folder: Path, how: str) -> None:
    path = folder / "evals.jsonl"
    text = path.read_text()
    content = {
        "utf-16": text.encode("utf-16"),
        "carriage returns": text.replace("\n", "\r").encode(),
        "another's": text.encode() + b"<<<<<<< HEAD",  # git's
        "zeros": b"\0" * 50 + b"\n" + b"\0" * 50 + b"\n",
    }[how]
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"evals\.jsonl"):
        resume(folder, "stop", 1)
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("trial", {"params": [], "number": 3}),
        ("trial", {"trial": "0017"}),
        ("trial", {"config": None}),
        ("trial", {"origin": {"trial": "0001"}}),
        ("resolved", {"modules": 3}),
        ("eval", {"combined": "high"}),
        ("eval", {"combined": 1e9}),
        ("eval", {"turns_seen": -400}),
        ("eval", {"turns_seen": True}),
        ("eval", {"intervals": {"bleu": 1}}),
        ("eval", {"richness": {"ttr": "much"}}),
        ("eval", {"time_s": float("inf")}),
        ("end", {"state": "DONE"}),
        ("end", {"reason": ["none"]}),
        ("note", {"text": None}),
    ],
)
def test_an_edited_line_is_told_and_left_out(
    folder: Path, kind: str, values: dict[str, Any]
) -> None:
    lines = (folder / "evals.jsonl").read_bytes().splitlines()
    known = {e["trial"] for e in map(json.loads, lines) if "trial" in e}
    there = [n for n, line in enumerate(lines) if json.loads(line)["event"] == kind]
    n = there[-1]
    (folder / "evals.jsonl").write_bytes(b"\n".join(edit(**values)(lines, n)) + b"\n")
    told = read_sweep(folder).warnings
    assert any(w.startswith(f"line {n + 1} of evals.jsonl") for w in told)
    assert f"line {n + 1} of evals.jsonl" in show(folder)
    records = read_sweep(folder)
    assert f"line {n + 1} of evals.jsonl" in render_markdown(records, rank_trials(records))
    resume(folder, "stop", 1)
    check_whole(folder, known)


@pytest.mark.parametrize("kind", ["folder", "pipe"])
def test_records_that_are_no_file_are_one_line(
    folder: Path, kind: str, capsys: pytest.CaptureFixture
) -> None:
    path = folder / "evals.jsonl"
    path.unlink()
    (path.mkdir if kind == "folder" else lambda: os.mkfifo(path))()
    for command in (status.main, run.main):
        name = ["s", "--once"] if command is status.main else ["--resume", "s"]
        assert command([*name, "--storage", str(folder.parent)]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1 and "evals.jsonl is not a file" in error


def test_what_a_terminal_would_obey_is_not_repeated(folder: Path) -> None:
    Recorder(folder).record_note("\x1b[2J\x9b2Jgone")
    sign = "\N{REPLACEMENT CHARACTER}"
    assert read_sweep(folder).notes[-1] == f"{sign}[2J{sign}2Jgone"


@pytest.mark.parametrize(
    "edited",
    [
        {"config": []},
        {"config": {"trials": "many"}},
        {"config": {"rungs_turns": 3}},
        {"space": {"searched": 3}},
        {"space": {"searched": {"lora_rank": {"name": "eval"}}}},
        {"created_s": "long ago"},
    ],
)
def test_a_header_that_cannot_be_read_is_one_line(
    folder: Path, edited: dict[str, Any], capsys: pytest.CaptureFixture
) -> None:
    header = json.loads((folder / "sweep.json").read_text())
    for name, values in edited.items():
        header[name] = {**header[name], **values} if isinstance(values, dict) else values
    (folder / "sweep.json").write_text(json.dumps(header))
    before = (folder / "evals.jsonl").read_bytes()
    assert run.main(["--resume", "s", "--storage", str(folder.parent)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "sweep.json" in error
    assert (folder / "evals.jsonl").read_bytes() == before


def test_a_header_with_a_mark_and_windows_ends_is_read(folder: Path) -> None:
    path = folder / "sweep.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    assert len(read_sweep(folder).trials) > 2


def test_a_value_outside_the_space_is_not_studied(folder: Path) -> None:
    """Edited in the records: the trial stays in the race and the report."""
    lines = (folder / "evals.jsonl").read_bytes().splitlines()
    n = next(n for n, line in enumerate(lines) if b'"number": 1' in line)
    event = json.loads(lines[n])
    other = {"lora_modules": "regexp:.*"}
    edited = edit(params={**event["params"], **other}, config={**event["config"], **other})
    (folder / "evals.jsonl").write_bytes(b"\n".join(edited(lines, n)) + b"\n")
    records = read_sweep(folder)
    assert any("trial 0001" in w and "lora_modules" in w for w in records.warnings)
    assert "0001" not in [t.id for t in records.studied]
    search = resume(folder, "stop", 1)
    assert not search.trials["0001"].is_inside
    check_whole(folder, {t.id for t in records.trials})
    write_report(folder)


def test_a_trial_that_no_config_spells_is_told_before_anything_is_written(
    folder: Path, capsys: pytest.CaptureFixture
) -> None:
    lines = (folder / "evals.jsonl").read_bytes().splitlines()
    n = next(n for n, line in enumerate(lines) if b'"number": 1' in line)
    config = {**json.loads(lines[n])["config"], "learning_rate": "fast"}
    (folder / "evals.jsonl").write_bytes(b"\n".join(edit(config=config)(lines, n)))
    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    assert run.main(["--resume", "s", "--storage", str(folder.parent)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "trial 0001" in error and "learning_rate" in error
    assert {p: p.read_bytes() for p in before} == before


@pytest.mark.parametrize("asha", RUNGS)
def test_a_clock_set_back_between_drivers_changes_no_order(
    tmp_path: Path, asha: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An evaluation of the second driver lies hours before its trial's start."""
    folder = make_records(tmp_path, asha, 1)
    undisturbed = [t.id for t in read_sweep(folder).trials]
    monkeypatch.setattr("time.time", lambda: 1000.0)
    search = resume(folder, asha, 1)
    times = [e["time_s"] for e in list_events(folder)]
    assert times == sorted(times)
    check_whole(folder, set(undisturbed))
    path, own = folder / "evals.jsonl", search.recorder
    jumbled = [
        json.dumps({**json.loads(line), "time_s": -float(n)}).encode()
        for n, line in enumerate(path.read_bytes().splitlines())
    ]
    path.write_bytes(b"\n".join(jumbled) + b"\n")
    again = resume(folder, asha, 1)  # as the records of a version that wrote the machine's time
    assert [t.state for t in again.searched] == [t.state for t in search.searched]
    mirror = Mirror(folder, "s", again.space, past=replay_events(read_sweep(folder)))
    assert mirror.failure is None and own is not again.recorder
    kept = JournalStorage(JournalFileBackend(str(folder / "optuna.journal")))
    names = {t.user_attrs["trial"]: t.state.name for t in kept.get_all_trials(0)}
    assert names == {t.id: t.state for t in again.searched}


def test_a_clock_that_jumps_makes_no_work_longer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, space = make_config(tmp_path, trials=4, max_hours=1)
    search, _ = open_search(config, space)
    budget, now_s = Budget(search), time.time()
    budget.share = 1.0
    lease = search.lease()
    assert lease is not None
    monkeypatch.setattr("time.time", lambda: now_s + 3 * 3600)
    assert search.report(next(carry_out(lease))) in (True, False)
    budget.look()
    assert budget.hours < 0.1 and budget.gpu_hours < 0.1 and search.closing is None
    (evaluation,) = read_sweep(config.folder).trials[0].evals
    assert evaluation.time_s - evaluation.started_s == pytest.approx(1.0, abs=0.01)
    assert abs(evaluation.time_s - now_s) < 60
