"""Reading a sweep's folder: what is there, what is torn, what is no sweep."""

import json
import shutil
from pathlib import Path

import pytest
from synthetic import START_S, write_header, write_sweep

from analysis.lines import parse
from analysis.records import Ledger, find_sweep, read_sweep
from trainable.trial import ConfigError, TrialConfig
from tune.list import list_sweeps
from tune.status import summarise


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sweep(tmp_path_factory.mktemp("r") / "sweep", trials=8, failing=(3,))


def test_trials_come_with_config_params_evals_and_state(sweep: Path) -> None:
    records = read_sweep(sweep)
    assert [t.number for t in records.trials] == [-1, *range(8)]
    assert records.count_states()["FAIL"] == 1
    failed = records.trials[4]
    assert (failed.state, failed.reason, failed.evals) == ("FAIL", "the loss is not finite", ())
    trial = next(t for t in records.trials if t.state == "COMPLETE" and not t.is_base)
    assert TrialConfig.from_dict(trial.config).learning_rate == trial.params["learning_rate"]
    assert [e.turns_seen for e in trial.evals] == [512, 2048, 8192]
    assert trial.resolved and trial.resolved.trainable_params > 0
    assert not records.is_running and not records.warnings


def test_a_torn_last_line_is_left_out_with_a_warning(sweep: Path, tmp_path: Path) -> None:
    text = (sweep / "evals.jsonl").read_text()
    (tmp_path / "sweep.json").write_text((sweep / "sweep.json").read_text())
    (tmp_path / "evals.jsonl").write_text(text[:-30])
    records = read_sweep(tmp_path)
    n_lines = len(text.splitlines())
    told = f"line {n_lines} of evals.jsonl was not written to its end: left out"
    assert records.warnings == (told,)
    assert records.is_running


def test_a_line_torn_before_a_resume_costs_only_itself(sweep: Path, tmp_path: Path) -> None:
    lines = (sweep / "evals.jsonl").read_text().splitlines()
    lines[3] = lines[3][:20]
    (tmp_path / "sweep.json").write_text((sweep / "sweep.json").read_text())
    (tmp_path / "evals.jsonl").write_text("\n".join(lines) + "\n")
    records = read_sweep(tmp_path)
    assert "line 4 of evals.jsonl" in records.warnings[0]
    assert len(records.trials) == 9


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (None, "not a sweep's folder"),
        ("{", "cannot be read"),
        ("[]", "cannot be read"),
        ('{"name": "x"}', "states no format"),
        ('{"format": 99}', "format 99, this version reads up to 1"),
    ],
)
def test_no_sweep_or_a_newer_one_is_refused(
    tmp_path: Path, header: str | None, message: str
) -> None:
    if header is not None:
        (tmp_path / "sweep.json").write_text(header)
    with pytest.raises(ConfigError, match=message):
        read_sweep(tmp_path)


def test_an_unknown_name_lists_the_sweeps_there_are(
    sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_header_at = tmp_path / "runs" / "mine"
    write_header_at.mkdir(parents=True)
    write_header(write_header_at, trials=1)
    monkeypatch.chdir(tmp_path)
    assert find_sweep("mine") == Path("runs/mine")
    with pytest.raises(ConfigError, match="give one of mine"):
        find_sweep("yours")


def test_fields_of_other_versions_and_of_other_kinds() -> None:
    ledger = Ledger()
    ledger.add({"event": "trial", "trial": "0", "number": 0, "params": {}, "config": {}})
    score = {"turns_seen": 5, "steps": 1, "loss_nats": 1.0, "bleu": 1.0, "inform": 1.0}
    more = {"success": 1.0, "richness": {}, "n_dialogues": 1, "n_turns": 1, "split": "validation"}
    event = {"event": "eval", "trial": "0", **score, **more, "states": "gold", "intervals": {}}
    ledger.add({**event, "combined": 2.0, "a_field_of_tomorrow": 1})
    ledger.add({**event, "combined": "two", "turns_seen": 9})
    ledger.add({**event, "turns_seen": 9})
    ledger.add({**event, "combined": 2.0, "trial": "7"}, line=9)
    assert [e.turns_seen for e in ledger.trials["0"].evals] == [5]
    assert ledger.warnings == [
        "eval event is left out: Expected `float | null`, got `str` - at `$.combined`",
        "eval event is left out: Object missing required field `combined`",
        "line 9 of evals.jsonl is left out: it is of trial 7, whose own line is lost",
    ]


def test_an_evaluation_made_again_replaces_the_first_and_a_longer_trial_goes_on(
    sweep: Path,
) -> None:
    ledger = Ledger()
    events = [json.loads(line) for line in (sweep / "evals.jsonl").read_text().splitlines()]
    mine = [e for e in events if e.get("trial") == "0000"]
    for event in mine:
        ledger.add(event)
    n_evals = len(ledger.trials["0000"].evals)
    ledger.add({**mine[0], "config": {**mine[0]["config"], "train_turns": 9000}})
    again = {**next(e for e in mine if e["event"] == "eval"), "combined": 1.5}
    ledger.add(again)
    trial = ledger.trials["0000"]
    assert (trial.state, len(trial.evals), trial.evals[0].combined) == ("RUNNING", n_evals, 1.5)


def test_trials_of_another_space_are_named(sweep: Path, tmp_path: Path) -> None:
    write_header(tmp_path, trials=8, space={"name": "other", "searched": {}, "fixed": {}})
    (tmp_path / "evals.jsonl").write_text((sweep / "evals.jsonl").read_text())
    assert "another space than other: 0000, 0001" in read_sweep(tmp_path).warnings[0]


def test_stations_of_training(sweep: Path) -> None:
    records = read_sweep(sweep)
    assert records.milestones_turns == (0, 512, 2048, 8192)
    assert [records.milestone_turns(n) for n in (0, 511, 519, 8200)] == [0, 0, 512, 8192]
    assert records.created_s == START_S


@pytest.mark.parametrize(
    "text",
    [
        b'{"a": 1}, {"b": 2}',
        b"[]",
        b'{"a": NaN}',
        b'{"a": 1e999}',
        b'{"a": 1',
        b'{"a": "\\ud800"}',
        b"[" * 100_000,
        b'{"a": "\xff"}',
    ],
)
def test_a_line_is_one_object_of_finite_numbers_and_valid_text(text: bytes) -> None:
    with pytest.raises(ValueError):
        parse(text)
    assert parse(b' {"b": "\\u001b"} ') == {"b": "\N{REPLACEMENT CHARACTER}"}


def test_who_waits_at_a_rung_is_not_told_as_running(tmp_path: Path) -> None:
    """Of a recorded race, as it was after two thirds of its events. In JSON such a trial is
    RUNNING, as it has always been, and counted beside."""
    source = Path(__file__).parents[2] / "analysis" / "results" / "small_cards" / "race"
    folder = tmp_path / "race"
    folder.mkdir()
    shutil.copy(source / "sweep.json", folder)
    lines = (source / "evals.jsonl").read_text().splitlines(keepends=True)
    (folder / "evals.jsonl").write_text("".join(lines[:90]))
    records = read_sweep(folder)
    assert records.describe_states() == "3 complete, 1 running, 12 waiting"
    for facts in (summarise(folder), *list_sweeps(tmp_path)):
        assert facts["trials"]["RUNNING"] == 13 and facts["waiting"] == 12
    assert read_sweep(source).describe_states() == "4 complete, 12 pruned"
