"""One trial of the report's page: what it was, how far it came, and how to go on."""

import json
import shlex
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup

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
from analysis.templates import render, to_json
from analysis.training import list_speeds, read_trainings, thin

BEFORE_SCORE, AFTER_SCORE = ("turns", "dialogues", "loss"), ("Bleu", "Inform", "Success")
STEPS_SHOWN = 60  # points of a curve


def show_trial(records: SweepRecords, trial: TrialRecord) -> Markup:
    """What its button in the leaderboard opens."""
    reason = f": {trial.reason}" if trial.reason else ""
    known = {
        "state": f"{trial.state.lower()}{reason}",
        "adapted": format_value(label_modules(trial)),
    }
    if trial.origin:
        known["comes from"] = f"trial {trial.origin.get('trial')}"
    objective = label_objective(trial.evals[0].name) if trial.evals else ""
    return render(
        "trial",
        id=trial.id,
        setting=label_setting(trial.number, trial.params),
        known=known,
        score_curve=_spell_scores(trial),
        columns=(*BEFORE_SCORE, objective, *AFTER_SCORE),
        evals=[_list_cells(e) for e in trial.evals],
        training=_spell_training(records, trial),
        ways=list_commands(records, trial),
        config=json.dumps(dict(trial.config), indent=2),
    )


def _spell_scores(trial: TrialRecord) -> dict[str, Any] | None:
    """The objective, or the loss where rungs generate nothing; dotted from one evaluation to the
    next on other dialogues."""
    has_scores = len(trial.replied) > 1
    losses = [e for e in trial.evals if e.nats_per_word is not None]
    evals = list(trial.replied) if has_scores else losses
    if len(evals) < 2:
        return None
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
    line = _spell_line(trial, title, {**solid, "text": text, "dotted": dotted})
    return {**line, "is_dotted": bool(between)}


def _pick(evaluation: EvalRecord, has_scores: bool) -> float | None:
    return evaluation.value if has_scores else evaluation.nats_per_word


def _spell_line(
    trial: TrialRecord, title: str, line: Mapping[str, Any], scale: str = "linear"
) -> dict[str, Any]:
    """For the page to draw: x, y and, where they are told, the marks' text and the parts that are
    dotted; `scale`: linear, from 0, or log."""
    data = to_json({"title": title, "scale": scale, **line})
    return {"label": f"{title} of trial {trial.id} over turns", "data": data}


def _spell_training(records: SweepRecords, trial: TrialRecord) -> list[dict[str, Any]]:
    """Its training step by step, where that was kept."""
    every = read_trainings(records).get(trial.id, ())
    if len(every) < 2:
        return []
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
    return [
        _spell_line(trial, title, {"x": x, "y": y}, scale)
        for title, y, scale in lines
        if any(value is not None for value in y)
    ]


def _list_cells(e: EvalRecord) -> list[str]:
    rates = (e.bleu, e.inform, e.success)
    loss = "" if e.nats_per_word is None else f"{e.nats_per_word:.3f}"
    shown = ["" if rate is None else f"{rate:.1f}" for rate in rates]
    return [str(e.turns_seen), str(e.n_dialogues), loss, format_score(e.value, e.name), *shown]


def list_commands(records: SweepRecords, trial: TrialRecord) -> dict[str, str]:
    """What can be done with the trial from a terminal, by what it does."""
    if trial.id == BASE_ID:
        return {}
    name = shlex.quote(records.folder.name)
    commands = {}
    if trial.state == "RUNNING":
        commands["stop it"] = f"python -m tune.stop {name} {trial.id}"
    field, value = next(iter(trial.params.items()), ("learning_rate", 0.001))
    change = shlex.quote(f"{field}={value}")
    commands["try it with another value"] = f"python -m tune.clone {name} {trial.id} --set {change}"
    if trial.state == "COMPLETE":
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
