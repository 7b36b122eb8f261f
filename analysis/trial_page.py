"""One trial for the report's page as HTML: what it was, how far it came, and how to go on."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from analysis.curves import split_by_dialogues
from analysis.labels import (
    format_score,
    format_value,
    label_modules,
    label_objective,
    label_setting,
)
from analysis.plots.style import join_lines
from analysis.records import BASE_ID, EvalRecord, SweepRecords, TrialRecord
from analysis.training import list_speeds, read_trainings, thin

BEFORE_SCORE, AFTER_SCORE = ("turns", "dialogues", "loss"), ("Bleu", "Inform", "Success")
STEPS_SHOWN = 60  # points of a curve


def show_trials(records: SweepRecords) -> str:
    """All trials, each in a template that its button in the leaderboard opens."""
    return "".join(
        f'<template id="trial-{escape(t.id)}">{show_trial(records, t)}</template>'
        for t in records.trials
    )


def show_trial(records: SweepRecords, trial: TrialRecord) -> str:
    reason = f": {trial.reason}" if trial.reason else ""
    facts = {"state": f"{trial.state.lower()}{reason}", "adapted": label_modules(trial)}
    if trial.origin:
        facts["comes from"] = f"trial {trial.origin.get('trial')}"
    config = json.dumps(dict(trial.config), indent=2)
    return (
        f'<h2 tabindex="-1">Trial {escape(trial.id)}</h2>'
        f"<p>{escape(label_setting(trial.number, trial.params))}</p>"
        f'<dl class="facts">{show_facts(facts)}</dl>'
        f"{_show_curve(trial)}{_show_evals(trial.evals)}{_show_training(records, trial)}"
        f"{show_commands(list_commands(records, trial))}"
        f'<details><summary>Configuration</summary><pre tabindex="0">{escape(config)}</pre>'
        "</details>"
    )


def show_facts(facts: dict[str, str]) -> str:
    return "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in facts.items() if v)


def _show_curve(trial: TrialRecord) -> str:
    """The objective, or the loss where rungs generate nothing; dotted from one evaluation to the
    next on other dialogues."""
    has_scores = len(trial.replied) > 1
    losses = [e for e in trial.evals if e.nats_per_word is not None]
    evals = list(trial.replied) if has_scores else losses
    if len(evals) < 2:
        return ""
    title = label_objective(evals[0].name) if has_scores else "loss, nats a word"
    runs, between = split_by_dialogues(evals)
    solid, dotted = (
        {
            "x": join_lines([[e.turns_seen for e in line] for line in lines]),
            "y": join_lines([[_pick(e, has_scores) for e in line] for line in lines]),
        }
        for lines in (runs, between)
    )
    text = join_lines([[f" on {e.n_dialogues} dialogues" for e in run] for run in runs])
    note = '<p class="note">Dotted: the next is on other dialogues, and does not compare.</p>'
    drawn = _show_line(trial, title, {**solid, "text": text, "dotted": dotted})
    return drawn + note * bool(between)


def _pick(evaluation: EvalRecord, has_scores: bool) -> float | None:
    return evaluation.value if has_scores else evaluation.nats_per_word


def _show_line(
    trial: TrialRecord, title: str, line: Mapping[str, Any], scale: str = "linear"
) -> str:
    """For the page to draw: x, y and, where they are told, the marks' text and the parts that are
    dotted; `scale`: linear, from 0, or log."""
    data = {"title": title, "scale": scale, **line}
    label = escape(f"{title} of trial {trial.id} over turns")
    return (
        f'<div class="curve" role="group" aria-label="{label}" '
        f'data-curve="{escape(json.dumps(data, separators=(",", ":")))}"></div>'
    )


def _show_training(records: SweepRecords, trial: TrialRecord) -> str:
    """Its training step by step, where that was kept."""
    every = read_trainings(records).get(trial.id, ())
    if len(every) < 2:
        return ""
    speeds = dict(zip((p.steps for p in every), list_speeds(every), strict=True))
    points = thin(every, STEPS_SHOWN)
    lines: list[tuple[str, list[float | None], str]] = [
        ("training loss, nats", [p.loss_nats for p in points], "linear"),
        ("gradient norm", [p.gradient_norm for p in points], "log"),
        ("learning rate", [p.learning_rate for p in points], "from 0"),
        ("tokens a second", [speeds[p.steps] for p in points], "from 0"),
        ("GPU, per cent", [p.gpu_percent for p in points], "from 0"),
        ("GPU memory, GiB", [p.gpu_gib for p in points], "from 0"),
    ]
    x = [p.turns_seen for p in points]
    drawn = (
        _show_line(trial, title, {"x": x, "y": y}, scale)
        for title, y, scale in lines
        if any(value is not None for value in y)
    )
    return f'<h3>Training, step by step</h3><div class="steps">{"".join(drawn)}</div>'


def _show_evals(evals: Sequence[EvalRecord]) -> str:
    if not evals:
        return '<p class="note">It has not been evaluated.</p>'
    columns = (*BEFORE_SCORE, label_objective(evals[0].name), *AFTER_SCORE)
    header = "".join(f'<th scope="col" class="number">{name}</th>' for name in columns)
    rows = "".join(
        "<tr>" + "".join(f'<td class="number">{escape(c)}</td>' for c in _list_cells(e)) + "</tr>"
        for e in evals
    )
    return (
        '<div class="scroll" role="region" aria-label="Evaluations" tabindex="0">'
        f'<table class="evals"><caption class="hidden">Evaluations</caption><thead><tr>{header}'
        f"</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _list_cells(e: EvalRecord) -> list[str]:
    rates = (e.bleu, e.inform, e.success)
    loss = "" if e.nats_per_word is None else f"{e.nats_per_word:.3f}"
    shown = ["" if rate is None else f"{rate:.1f}" for rate in rates]
    return [str(e.turns_seen), str(e.n_dialogues), loss, format_score(e.value, e.name), *shown]


def list_commands(records: SweepRecords, trial: TrialRecord) -> dict[str, str]:
    """What can be done with the trial from a terminal, by what it does."""
    name = shlex.quote(records.folder.name)
    commands = {}
    if trial.state == "RUNNING" and trial.id != BASE_ID:
        commands["stop it"] = f"python -m tune.stop {name} {trial.id}"
    if trial.id != BASE_ID:
        field, value = next(iter(trial.params.items()), ("learning_rate", 0.001))
        change = shlex.quote(f"{field}={format_value(value)}")
        commands["try it with another value"] = (
            f"python -m tune.clone {name} {trial.id} --set {change}"
        )
        commands["take its adapter along"] = (
            f"python -m tune.export {name} --trial {trial.id} --out {trial.id}"
        )
    return commands


def list_sweep_commands(records: SweepRecords) -> dict[str, str]:
    """What can be done with the whole sweep."""
    name = shlex.quote(records.folder.name)
    commands = {"its best adapter for others": f"python -m tune.export {name} --out FOLDER"}
    if records.is_running:
        commands = {
            "end it once its trials have reached a rung": f"python -m tune.stop {name}",
            "go on where it was, after a stop or a crash": f"python -m tune.run --resume {name}",
            **commands,
        }
    return commands


def show_commands(commands: dict[str, str]) -> str:
    return "".join(
        f'<div class="command"><span class="note">{escape(what)}</span>'
        f'<code tabindex="0">{escape(command)}</code>'
        f'<button type="button" class="copy" aria-label="Copy: {escape(what)}">Copy</button></div>'
        for what, command in commands.items()
    )
