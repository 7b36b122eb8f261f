"""The leaderboard's three files and its table for the terminal."""

import csv
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from synthetic import write_header, write_sweep

from analysis.comparison import compare, find_side
from analysis.leaderboard import render, write_leaderboard
from analysis.records import read_sweep
from analysis.rows import to_csv

LAB = ["LLM model", "params", "Bleu", "Success", "Inform", "Richness"]
BOARD = ["Combined", "Av. len.", "CBE", "#uniq. words", "#uniq. 3-grams"]


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_sweep(tmp_path_factory.mktemp("l") / "sweep", trials=12, failing=(5,))
    write_leaderboard(folder)
    return folder


def test_the_files_agree(sweep: Path) -> None:
    with (sweep / "leaderboard.csv").open() as file:
        rows = list(csv.DictReader(file))
    table = pq.read_table(sweep / "leaderboard.parquet").to_pylist()
    assert len(rows) == len(table) == 12  # 11 with a score and the untuned base
    assert [r["trials"] for r in rows] == [r["trials"] for r in table]
    assert float(rows[0]["Combined"]) == table[0]["Combined"]
    assert [c for c in rows[0] if c in LAB] == LAB
    assert set(BOARD) <= set(rows[0])
    assert {r["split"] for r in table} == {"validation"}
    assert {r["board"] for r in table} == {"policy optimisation"}


def test_a_conditional_field_is_empty_where_it_has_no_meaning(sweep: Path) -> None:
    table = pq.read_table(sweep / "leaderboard.parquet").to_pylist()
    for row in table:
        assert (row["decay_fraction"] is not None) == (row["schedule"] == "wsd")


def test_markdown_tells_what_was_measured(sweep: Path) -> None:
    text = (sweep / "leaderboard.md").read_text()
    lines = text.splitlines()
    header = next(i for i, line in enumerate(lines) if line.startswith("| rank"))
    assert lines[header].count("|") == lines[header + 2].count("|")
    assert "40 validation dialogues with gold states (policy optimisation board)" in text
    assert "± is half a 95 % interval over dialogues alone" in text
    assert "One seed each: trials cannot be told apart. The highest is trial " in text
    assert "Failed: 0005: the loss is not finite" in text


@pytest.mark.parametrize("width", [80, 120])
def test_the_terminal_table_fits_and_shows_the_base(sweep: Path, width: int) -> None:
    lines = render(sweep, width=width, top=3).splitlines()
    assert max(map(len, lines)) <= width
    assert any("base" in line and "untuned" in line for line in lines)
    assert any("and 8 more" in line for line in lines)


def test_whose_replies_stand_in_front_is_told(sweep: Path, tmp_path: Path) -> None:
    folder = write_sweep(tmp_path / "own", trials=2)
    log = folder / "evals.jsonl"
    own = log.read_text().replace('"earlier_replies": "corpus"', '"earlier_replies": "own"')
    log.write_text(own)
    told = "Every reply follows the model's own earlier ones"
    assert told in render(folder) and told not in render(sweep)
    difference = compare(find_side(str(folder)), find_side(str(sweep)))
    assert "scored with its own earlier replies" in difference and "Not comparable" in difference


@pytest.mark.parametrize("failing", [(), (0, 1)])
def test_without_scores_it_says_so(tmp_path: Path, failing: tuple[int, ...]) -> None:
    write_header(tmp_path, trials=2)
    if failing:
        write_sweep(tmp_path, trials=2, failing=failing)
        lines = (tmp_path / "evals.jsonl").read_text().splitlines()
        kept = [line for line in lines if '"base"' not in line]
        (tmp_path / "evals.jsonl").write_text("\n".join(kept) + "\n")
    write_leaderboard(tmp_path)
    expected = "2 fail" if failing else "no trials"
    assert f"no trial has a score yet ({expected})" in render(tmp_path)
    assert pq.read_table(tmp_path / "leaderboard.parquet").num_rows == 0


def test_a_running_sweep_is_marked(tmp_path: Path) -> None:
    folder = write_sweep(tmp_path / "s", trials=6, unfinished=2)
    assert read_sweep(folder).is_running
    assert "The sweep has not ended" in render(folder)


def test_a_spreadsheet_computes_nothing_of_the_csv() -> None:
    rows = [{"trials": "=cmd|' /C calc'!A0", "@x": " +1", "to best": -2.5, "modules": "q_proj"}]
    read = list(csv.reader(to_csv(rows).splitlines()))
    assert read == [
        ["trials", "'@x", "to best", "modules"],
        ["'=cmd|' /C calc'!A0", "' +1", "-2.5", "q_proj"],
    ]
