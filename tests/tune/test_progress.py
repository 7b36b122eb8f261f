"""What a running sweep shows: a live table on a terminal, one line an event elsewhere."""

import json
from collections.abc import Mapping
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from tune.terminal.heartbeats import merge
from tune.terminal.live import Display
from tune.terminal.progress import SweepProgress
from tune.terminal.table import render
from tune.terminal.trial_rows import list_fields

SWEEP = {"name": "mine", "config": {"trials": 4, "rungs_turns": [100, 300], "train_turns": 900}}


def start(number: int) -> dict[str, Any]:
    params = {"learning_rate": 0.001 * (number + 1)}
    name = {"trial": f"{number:04d}", "number": number}
    return {"event": "trial", **name, "params": params, "config": params, "time_s": 10.0 + number}


def score(number: int, turns: int, combined: float) -> dict[str, Any]:
    metrics = {"bleu": 5.0, "inform": 50.0, "success": 40.0, "combined": combined}
    counts = {"steps": 1, "n_dialogues": 3, "n_turns": 9}
    rest = {"loss_nats": 1.0, "richness": {}, "split": "validation", "states": "gold"}
    where = {"place": {"node": "n", "gpu": 1, "slot": 0}, "started_s": 10.0, "time_s": 46.0}
    return {
        **{"event": "eval", "trial": f"{number:04d}", "turns_seen": turns, "intervals": {}},
        **{**metrics, **counts, **rest, **where},
    }


def end(number: int, state: str, reason: str | None = None) -> dict[str, Any]:
    name = {"trial": f"{number:04d}", "state": state, "reason": reason}
    return {"event": "end", **name, "time_s": 60.0}


EVENTS: list[Mapping[str, Any]] = [
    *(start(0), start(1), start(2)),
    *(score(0, 100, 20.0), score(0, 300, 60.0), score(1, 100, 10.0), end(1, "PRUNED", "at 100")),
    *(end(2, "FAIL", "no memory"), {"event": "note", "text": "engine restarted", "time_s": 61.0}),
]


def test_one_line_an_event_off_a_terminal() -> None:
    text = StringIO()
    with Display(SweepProgress(SWEEP), Console(file=text)) as display:
        for event in EVENTS:
            display.on_event(event)
    lines = text.getvalue().splitlines()
    assert len(lines) == len(EVENTS)
    assert lines[0] == "trial 0000 starts: learning_rate 0.001"
    assert lines[4].startswith("trial 0000 at 300 turns: Combined 60.0")
    assert lines[-2:] == ["trial 0002 FAIL: no memory", "note: engine restarted"]


def test_who_trained_longer_leads() -> None:
    progress = SweepProgress(SWEEP)
    for event in (*EVENTS, start(3), score(3, 100, 90.0)):
        progress.ledger.add(event)
    assert progress.best is not None and progress.best.trial.id == "0000"


def show(progress: SweepProgress, width: int = 120) -> str:
    console = Console(file=StringIO(), width=width)
    console.print(render(progress))
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_the_table_shows_states_rungs_curves_and_use() -> None:
    progress = SweepProgress(SWEEP, slots=2)
    for event in EVENTS:
        progress.on_event(event)
    text = show(progress)
    assert "1 pruned, 1 running, 1 fail of 4" in text
    assert "Combined 60.0  (trial 0000, rung 300" in text
    assert "1 of 2 busy (50 %), GPUs: 1" in text
    assert "0.6 GPU-minutes, about 0.36 GPU-minutes to come" in text
    assert next(line for line in text.splitlines() if line.split()[:1] == ["100"]).split()[-2:] == [
        "2",
        "20.0",
    ]
    running = next(line for line in text.splitlines() if line.startswith("0000"))
    assert "▃█" in running and "0.001" in running
    assert "engine restarted" in text


def test_the_forecast_waits_for_the_first_end() -> None:
    progress = SweepProgress(SWEEP)
    progress.on_event(start(0))
    assert progress.forecast(60.0) is None
    progress.on_event(end(0, "FAIL"))
    assert progress.forecast(60.0) == 180.0


def test_the_table_shows_what_each_trial_is_at_and_the_gpus() -> None:
    progress = SweepProgress(SWEEP, slots=2)
    for event in EVENTS:
        progress.on_event(event)
    said = {"trials": {"0000": ["training", 450, 900], "0001": ["training", 99, 100]}}
    gpu = {"id": "1", "percent": 91.0, "used_gib": 61.4, "total_gib": 80.0}
    progress.heartbeats = merge([json.dumps({**said, "node": "n", "gpu": gpu}).encode()])
    text = show(progress)
    assert "n 1: 91 %, 61 of 80 GiB" in text
    at_work = next(line for line in text.splitlines() if line.startswith("0000"))
    assert "training ━━━━" in at_work
    assert progress.turns == 450 + 100  # 0001 has ended: only what is recorded counts


def test_who_is_on_the_way_from_which_rung() -> None:
    progress = SweepProgress(SWEEP, slots=4)
    for event in [*EVENTS, start(3)]:
        progress.on_event(event)
    lines = [line.split() for line in show(progress).splitlines()]
    milestones = {line[0]: line[-1] for line in lines if line and line[0].isdecimal()}
    assert milestones["0"] == "0003" and milestones["300"] == "0000"
    assert "0001" not in milestones.values()


MANY = {f"field_{letter}": f"value-{letter}" for letter in "abcdefghij"}
PATTERN = {"lora_modules": r"regexp:.*\.(self_attn\.o_proj|mlp\.down_proj|mlp\.gate_proj)", **MANY}


def test_who_waits_at_a_rung_does_not_run() -> None:
    progress = SweepProgress({**SWEEP, "config": {**SWEEP["config"], "asha": "promote"}})  # type: ignore[dict-item]
    for number in range(3):
        decided = {"turns": 100, "trials": [f"{number:04d}"], "metric": "combined", "value": 20.0}
        for event in (start(number), score(number, 100, 20.0)):
            progress.on_event(event)
        progress.on_event({"event": "rung", **decided, "goes_on": number == 2, "time_s": 46.0})
    assert "1 running, 2 waiting of 4" in show(progress)
    rows = [line.split() for line in show(progress).splitlines()]
    assert any(row[-3:] == ["0002", "2", "waiting"] for row in rows)
    progress.on_event(score(0, 300, 30.0))  # it was promoted
    assert "2 running, 1 waiting of 4" in show(progress)


@pytest.mark.parametrize("width", [60, 80, 120, 200])
def test_the_trial_its_turns_score_and_curve_are_on_every_terminal(width: int) -> None:
    progress = SweepProgress(SWEEP, slots=2)
    for event in EVENTS:
        progress.on_event({**event, "params": PATTERN} if event["event"] == "trial" else event)
    said = {"trials": {"0000": ["training", 450, 900]}, "node": "n", "gpu": None}
    progress.heartbeats = merge([json.dumps(said).encode()])
    text = show(progress, width)
    assert max(map(len, text.splitlines())) <= width
    running = next(line for line in text.splitlines() if line.startswith("0000")).split()
    assert running[:4] == ["0000", "450", "60.0", "▃█"] and "training" in running
    assert next(line for line in text.splitlines() if line.startswith("0002")).split()[2] == "fail"
    assert "value-a" in text or "…" in text


def test_a_low_terminal_shows_the_best_and_who_is_at_work() -> None:
    progress = SweepProgress(SWEEP, slots=2)
    for number in range(30):
        progress.on_event(start(number))
        progress.on_event(score(number, 100, 90.0 if number == 2 else 10.0))
        if number < 28:
            progress.on_event(end(number, "PRUNED"))
    console = Console(file=StringIO(), width=80, height=24, force_terminal=True)
    console.print(render(progress))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert len(lines) <= 24
    assert all(any(name in line for line in lines) for name in ("0002", "0028", "0029"))


def test_rungs_that_generate_nothing_show_losses() -> None:
    progress = SweepProgress(SWEEP)
    progress.on_event(start(0))
    for turns, loss, n_dialogues in ((100, 2.5, 20), (300, 1.75, 20), (900, 2.125, 30)):
        unscored = dict.fromkeys(("bleu", "inform", "success", "combined"))
        known = {"nats_per_word": loss, "n_dialogues": n_dialogues}
        progress.on_event({**score(0, turns, 0.0), **unscored, **known})
    text = show(progress)
    assert "loss 2.125" in text and "█▁┊▅" in text  # other dialogues behind the bar


def test_nothing_to_show_yet_is_shown_too() -> None:
    assert "no score yet" in show(SweepProgress({"name": "new", "config": {}}))


def test_long_values_that_begin_alike_are_told_apart() -> None:
    """Else the field would seem alike in all trials, and stand behind the others."""
    contexts = ("history+state+db", "history+state+db+booked")
    progress = SweepProgress(SWEEP, slots=2)
    for number, context in enumerate(contexts):
        params = {"rank": 8, "context": context}
        progress.on_event({**start(number), "params": params})
    fields = list_fields(progress.trials, "", n_cells=10)
    assert [(f.header, f.values) for f in fields] == [
        ("context", ("hist…te+db", "hist…ooked")),
        ("rank", ("8", "8")),
    ]
