"""The report: one page, without network, torch or Ray, whatever the folder holds."""

import contextlib
import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest
from synthetic import add_training, write_header, write_sweep

from analysis.records import read_sweep
from analysis.report import OFFLINE, main, write_report
from analysis.trial_page import show_trial

ALONE = """
import sys
from analysis.report import main
code = main([sys.argv[1]])
heavy = sorted({m.partition(".")[0] for m in sys.modules} & {"torch", "ray", "transformers"})
sys.exit(f"{heavy} imported" if heavy else code)
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = write_sweep(tmp_path_factory.mktemp("p") / "a <b> sweep", trials=12, failing=(2,))
    return write_report(folder).read_text()


@pytest.mark.slow
def test_neither_torch_nor_ray_is_imported_for_two_hundred_trials(tmp_path: Path) -> None:
    folder = write_sweep(tmp_path / "big", trials=200, n_dialogues=100)
    add_training(folder)
    done = subprocess.run(
        [sys.executable, "-c", ALONE, str(folder)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert (folder / "report.html").stat().st_size < 10e6


def test_the_page_holds_the_answer_the_board_the_figures_and_the_configuration(page: str) -> None:
    assert "Which LoRA modules work best?" in page
    assert "<b>One seed each: </b>trials cannot be told apart" in page
    assert page.count('type="application/json"') >= 9
    assert "0002: the loss is not finite" in page
    assert "--set learning_rate=" in page
    assert "<mark>[name]</mark>" in page


def test_training_is_drawn_step_by_step_where_it_was_kept(page: str, tmp_path: Path) -> None:
    assert "no trial&#39;s training was kept step by step" in page
    assert "Training, step by step" not in page  # a sweep of an earlier version
    folder = write_sweep(tmp_path / "kept", trials=6)
    add_training(folder)
    (folder / "trials" / "0001" / "training.json").write_text('{"stride": 2, "turns_seen": [16')
    kept = write_report(folder).read_text()
    assert kept.count("Training, step by step") == 6  # the untuned base and all but the damaged
    assert 'id="figure-training-loss"' in kept and 'id="figure-gpu"' in kept
    readings = dict(re.findall(r'id="figure-([a-z-]+)-reading">([^<]*)<', kept))
    assert "went from 3.52 to 1.14 nats a target token in 4,800 turns" in readings["training-loss"]
    assert "had norms from 1.93 to 2.07" in readings["gradient-norm"]
    assert "was 0.000993 at its highest, after 32 turns" in readings["schedules"]
    assert "6,364 tokens a second" in readings["speed"] and "31.5 GiB" in readings["gpu"]
    assert all(told.count(". ") + told.endswith(".") == 2 for told in readings.values())


def test_a_trials_curve_is_dotted_where_its_dialogues_change(tmp_path: Path) -> None:
    records = read_sweep(write_sweep(tmp_path / "s", trials=12))
    trial = next(t for t in records.trials if len(t.replied) > 2)
    numbers = (20, 20, 50)
    evals = [replace(e, n_dialogues=n) for e, n in zip(trial.evals, numbers, strict=False)]
    page = unescape(show_trial(records, replace(trial, evals=tuple(evals))))
    drawn = json.loads(page.split('data-curve="')[1].split('"></div>')[0])
    a, b, c = [e.turns_seen for e in evals]
    assert drawn["x"] == [a, b, None, c, None] and drawn["dotted"]["x"] == [b, c, None]
    assert drawn["dotted"]["y"] == [evals[1].value, evals[2].value, None]
    assert drawn["text"][3] == " on 50 dialogues" and "does not compare" in page
    assert "does not compare" not in show_trial(records, trial)  # all on one number


def test_names_from_the_record_are_escaped(page: str) -> None:
    assert "<h1>a &lt;b&gt; sweep</h1>" in page


def test_the_page_asks_the_network_for_nothing(page: str) -> None:
    assert "default-src 'none'" in page
    own = page.split('<script type="text/plain" id="plotly">')[0]
    assert "http://" not in own and "https://" not in own


def test_a_conditional_field_is_blank_in_the_rows_without_it(page: str) -> None:
    rows = [row for row in page.split("<tr ")[1:] if "data-value" in row]
    constant = next(row for row in rows if 'data-value="constant"' in row)
    header = page.split("<thead>")[2].split("</thead>")[0].split("<th ")[1:]
    column = next(i for i, cell in enumerate(header) if "decay_fraction" in cell)
    assert 'data-value=""' in constant.split("<td ")[1:][column]


def keep_lines(folder: Path, *, without: str) -> None:
    path = folder / "evals.jsonl"
    lines = [line for line in path.read_text().splitlines() if without not in line]
    path.write_text("\n".join(lines) + "\n")


def test_folders_with_little_in_them(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    write_header(empty, trials=3)
    assert "No trial has a score yet" in write_report(empty).read_text()
    failed = write_sweep(tmp_path / "failed", trials=2, failing=(0, 1))
    keep_lines(failed, without='"base"')
    assert "0001: the loss is not finite" in write_report(failed).read_text()
    one = write_sweep(tmp_path / "one", trials=1)
    assert "importance needs 12" in write_report(one).read_text()


def test_a_running_sweep_and_a_torn_line_are_marked(tmp_path: Path) -> None:
    folder = write_sweep(tmp_path / "s", trials=8, unfinished=2)
    with (folder / "evals.jsonl").open("a") as file:
        file.write('{"event": "eval", "tri')
    page = write_report(folder).read_text()
    assert "Partial report: the sweep has not ended" in page
    assert "of evals.jsonl was not written to its end" in page
    assert "python -m analysis.report s, or keep it current with --follow" in page
    assert 'http-equiv="refresh"' not in page


def test_a_followed_page_reloads_itself_until_the_sweep_has_ended(tmp_path: Path) -> None:
    folder = write_sweep(tmp_path / "s", trials=8, unfinished=2)
    assert '<meta http-equiv="refresh" content="5">' in write_report(folder, None, 5).read_text()
    ended = write_sweep(tmp_path / "t", trials=8)
    assert main([str(ended), "--follow"]) == 0
    assert 'http-equiv="refresh"' not in (ended / "report.html").read_text()


def test_trials_of_another_space_stay_out_of_the_importance(tmp_path: Path) -> None:
    folder = write_sweep(tmp_path / "s", trials=12)
    header = json.loads((folder / "sweep.json").read_text())
    del header["space"]["searched"]["learning_rate"]
    (folder / "sweep.json").write_text(json.dumps(header))
    page = write_report(folder).read_text()
    assert "trials of another space than synthetic" in page
    assert "importance needs 12" in page


@pytest.mark.parametrize("arguments", [["no-such-sweep"], ["no-such-sweep", "--output", "x.html"]])
def test_a_wrong_name_is_one_line_and_exit_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_an_output_that_cannot_be_written_names_the_flag(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_sweep(tmp_path / "s", trials=2)
    assert main([str(folder), "--output", str(tmp_path / "none" / "report.html")]) == 2
    assert "--output" in capsys.readouterr().err


ODD = [
    ("lora_rank", 7),
    ("lora_rank", "eight"),
    ("lora_rank", [2]),
    ("lora_modules", None),
    ("learning_rate", "high"),
    ("learning_rate", float("nan")),
    ("learning_rate", -1.0),
    ("decay_fraction", None),
    ("schedule", {"a": 1}),
]


def test_values_that_the_space_does_not_know_still_make_a_report(tmp_path: Path) -> None:
    """They are of another version of it, or of somebody's editor."""
    folder = write_sweep(tmp_path / "sweep", trials=24)
    path = folder / "evals.jsonl"
    events = [json.loads(line) for line in path.read_text().splitlines()]
    for event in events:
        if event["event"] == "trial" and 0 <= event["number"] < len(ODD):
            name, value = ODD[event["number"]]
            event["params"][name] = event["config"][name] = value
    path.write_text("".join(f"{json.dumps(event)}\n" for event in events))
    page = write_report(folder).read_text()
    assert "eight" in page


def test_a_report_fetches_no_corpus_by_any_of_its_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str | None] = []
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(
        "trainable.corpus.load.load_corpus", lambda name: seen.append(os.environ.get(OFFLINE))
    )
    folder = write_sweep(tmp_path / "s", trials=2)
    with contextlib.suppress(AttributeError):  # what nothing has no splits
        main([str(folder)])
    assert seen and set(seen) == {"1"}
    assert OFFLINE not in os.environ
