"""The verdict: what is said of sweeps whose truth is known, and where it is said."""

import json
from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from synthetic import write_header

from analysis.answers import answer
from analysis.board import lay_out
from analysis.compose import compose_page
from analysis.leaderboard import render, render_markdown
from analysis.ranking import rank_trials
from analysis.records import CONFIRMATION, Ledger, SweepRecords, find_sweep, read_sweep
from analysis.rows import to_csv, to_row
from analysis.verdict import find_verdict, tabulate, to_dict
from analysis.wording import state
from tune.status import View
from tune.terminal.live import describe_event

CLAIMS = (" best", "beats", "gains", "clear", "ahead", "behind")  # not for one seed
MODULES = ("ffn", "all-linear", "attention", "qv")


def write_scores(
    folder: Path, scores: Mapping[str, Sequence[float]], *, half: float = 2.0, **config: Any
) -> SweepRecords:
    """A sweep of one point a choice of lora_modules, with a score a seed."""
    folder.mkdir(parents=True)
    write_header(folder, trials=sum(map(len, scores.values())))
    header = json.loads((folder / "sweep.json").read_text())
    header["space"] |= {"name": "lora_modules"}
    header["config"] |= {"rungs_turns": [400], "train_turns": 1600}
    (folder / "sweep.json").write_text(json.dumps(header))
    events: list[dict[str, Any]] = []
    for choice, seeds in scores.items():
        for seed, combined in enumerate(seeds):
            name = {"trial": f"{len(events) // 3:04d}"}
            own = {"method": "lora", "lora_modules": choice, "seed": seed, "train_turns": 1600}
            events.append({"event": "trial", **name, "number": len(events) // 3})
            events[-1] |= {"params": {"lora_modules": choice}, "config": {**own, **config}}
            where = {"n_dialogues": 100, "n_turns": 500, "split": "validation", "states": "gold"}
            rates = {"bleu": 10.0, "inform": 70.0, "success": 60.0, "combined": combined}
            rest = {"steps": 100, "loss_nats": None, "richness": {}}
            rest |= {"intervals": {"combined": [combined - half, combined + half]}}
            turns = {"turns_seen": config.get("train_turns", 1600)}
            events.append({"event": "eval", **name, **turns, **where, **rates, **rest})
            events.append({"event": "end", **name, "state": "COMPLETE", "reason": None})
    (folder / "evals.jsonl").write_text("".join(json.dumps(e) + "\n" for e in events))
    return read_sweep(folder)


def say(records: SweepRecords) -> str:
    verdict = find_verdict(records)
    assert verdict is not None
    return state(verdict)[0]


def test_a_lead_that_seeds_bear_out_is_named(tmp_path: Path) -> None:
    scores = {"ffn": (100, 104, 102), "all-linear": (89, 93, 91), "qv": (70, 75, 73)}
    said = say(write_scores(tmp_path / "s", scores))
    assert said.startswith("ffn is best: all-linear is ") and "points behind" in said


def test_the_three_groups_of_an_answer(tmp_path: Path) -> None:
    scores = {
        **{"ffn": (100.0, 104.0, 102.0), "all-linear": (99.9, 103.8, 102.0)},
        **{"attention": (96.0, 103.5, 100.5), "qv": (90.0, 94.5, 92.0)},
    }
    said = say(write_scores(tmp_path / "s", scores, half=1.0))
    assert said.startswith(
        "ffn and all-linear are level, within 3 points; attention cannot be told"
    )
    assert said.endswith("points behind.") and "; qv is " in said


def test_a_lead_that_its_own_seeds_deny_is_none(tmp_path: Path) -> None:
    """Retrained, the winner of a sweep had 103.1, 92.6 and 111.8."""
    scores = {
        **{"ffn": (103.1, 92.6, 111.8), "all-linear": (101.9, 84.1, 107.5)},
        "attention": (69.6, 76.5, 101.3),
    }
    said = say(write_scores(tmp_path / "s", scores))
    assert "all-linear and attention cannot be told apart from ffn with these seeds" in said
    assert not any(word in said for word in CLAIMS)


@pytest.mark.parametrize("name", ["example/sweep", "results/smollm2/qlora", "results/smollm2/long"])
def test_one_seed_supports_no_claim_anywhere(name: str) -> None:
    records = read_sweep(find_sweep(name))
    said = "\n".join(answer(records, rank_trials(records))) + render(records)
    question = str(records.space["question"])
    without = said.replace(question, "")
    assert [word for word in CLAIMS if word in without] == []
    assert "P(best)" not in said and "Probability of" not in said


def test_the_same_words_everywhere(tmp_path: Path) -> None:
    scores = {"ffn": (100, 104, 102), "qv": (70, 75, 73)}
    records = write_scores(tmp_path / "s", scores)
    said = say(records)
    assert said in render(records, width=300)
    assert said in render_markdown(records, rank_trials(records))
    assert said.partition(": ")[2] in compose_page(records)
    assert said == answer(records, rank_trials(records))[0]


def test_a_pattern_has_one_short_name_for_a_reader_and_stays_whole_for_machines(
    tmp_path: Path,
) -> None:
    pattern, name = r"regexp:.*\.(o_proj|down_proj)", "o_proj|down_proj"
    scores = {pattern: (100, 104, 102), "qv": (70, 75, 73)}
    records = write_scores(tmp_path / "s", scores)
    entries = rank_trials(records)
    shown = [cell.text for row in lay_out(entries).rows for cell in row.cells.values()]
    event = {"event": "trial", "trial": "0003", "number": 3, "params": {"lora_modules": pattern}}
    assert describe_event(event, Ledger()) == f"trial 0003 starts: lora_modules {name}"
    for text in (
        *(say(records), render(records), show(records), "\n".join(shown)),
        render_markdown(records, entries).replace("\\|", "|"),
    ):
        assert name in text and "regexp" not in text.partition("Note: ")[0]
    assert pattern in to_csv([to_row(entry) for entry in entries])
    assert to_dict(find_verdict(records), ())["choices"][0]["params"]["lora_modules"] == pattern


def show(records: SweepRecords) -> str:
    """The live table, as `status` draws it."""
    console, view = Console(file=StringIO(), width=120), View(records.folder)
    view.look()
    console.print(view.render())
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_what_trains_nothing_needs_no_seeds(tmp_path: Path) -> None:
    scores = {"ffn": [117.0], "qv": [90.0]}
    records = write_scores(tmp_path / "s", scores, train_turns=0, method="none")
    assert say(records).startswith("ffn is ahead: qv is ")


def test_one_trial_is_compared_with_nothing(tmp_path: Path) -> None:
    records = write_scores(tmp_path / "s", {"ffn": [80.0]})
    assert say(records) == (
        "Only one configuration, trial 0000, was trained to the end (1,600 turns): nothing "
        "compares with it."
    )


def test_of_sweeps_in_which_nothing_differs_one_in_twenty_claims_something(tmp_path: Path) -> None:
    """Five choices, three seeds each: 64 % did, before seeds and their number counted."""
    rng, claimed = np.random.default_rng(0), 0
    for sweep in range(100):
        orders = 4.0 * rng.standard_normal(3)
        scores = {m: (85 + orders + 3 * rng.standard_normal(3)).tolist() for m in (*MODULES, "all")}
        records = write_scores(tmp_path / str(sweep), scores, half=0.1)
        claimed += any(word in say(records) for word in CLAIMS)
    assert claimed <= 10  # 5 expected; more than 10 come once in a hundred


def test_the_table_names_choice_score_distance_seeds_and_size() -> None:
    verdict = find_verdict(read_sweep(find_sweep("results/smollm2/modules")))
    assert verdict is not None
    first, *_, last = tabulate(verdict)
    names = ["lora_modules", "Combined", "from the first", "P(best)", "seeds", "trainable"]
    assert list(first) == names
    assert (first["lora_modules"], last["lora_modules"]) == ("ffn", "qv")
    assert last["from the first"].startswith("-12.8 [")
    assert "~" not in last["from the first"] and (last["seeds"], last["trainable"]) == ("3", "3.6M")
    chances = [c.chance for c in verdict.choices]
    assert sum(c for c in chances if c is not None) == pytest.approx(1.0)


def test_confirmed_choices_are_compared_among_themselves(tmp_path: Path) -> None:
    scores = {"ffn": (113.0, 101, 104, 102), "all-linear": (99, 91, 94, 92.5), "qv": (95.0,)}
    folder = write_scores(tmp_path / "s", scores).folder
    events = [json.loads(line) for line in (folder / "evals.jsonl").read_text().splitlines()]
    for event in events:
        if event["event"] == "trial" and event["config"]["seed"] > 0:
            event["origin"] = {"kind": CONFIRMATION, "trial": "0000", "set": {}, "warm": False}
            event["origin"]["in_study"] = False
    last = [e for e in events if e["trial"] == "0008"]  # a second point of ffn, not confirmed
    again = [{**json.loads(json.dumps(e)), "trial": "0009"} for e in last]
    again[0] |= {"number": 9, "params": {"lora_modules": "ffn", "learning_rate": 0.1}}
    again[0]["config"] |= {"lora_modules": "ffn", "learning_rate": 0.1}
    text = "".join(json.dumps(e) + "\n" for e in [*events, *again])
    (folder / "evals.jsonl").write_text(text)
    verdict = find_verdict(read_sweep(folder))
    assert verdict is not None
    assert state(verdict)[0].startswith("all-linear is ")
    assert "behind ffn; qv is not compared, having one seed" in state(verdict)[0]
    assert state(verdict)[1].endswith("turns, 3 fresh seeds each.")
    chances = {c.name: c.chance for c in verdict.choices}
    assert chances["qv"] is None
    assert (chances["ffn"] or 0) + (chances["all-linear"] or 0) == pytest.approx(1.0)
