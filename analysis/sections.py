"""The parts of the report's page, as its templates take them."""

import json
import re
import shlex
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

from analysis.answers import answer
from analysis.curves import measure_gpu_hours, name_hours, worked_s
from analysis.figures import CATALOGUE, Plot
from analysis.labels import format_hours, format_score, label_objective, label_params
from analysis.plots.style import NothingToPlot
from analysis.ranking import Entry
from analysis.records import SweepRecords, TrialRecord
from analysis.rows import format_value_of
from analysis.templates import embed
from analysis.verdict import find_verdict, tabulate
from analysis.wording import state

MAX_SUBJECT = 60
# no line ends within 1e-05, <1 % or --seeds 3
WHOLE = re.compile(r"[\d.]+e-\d+|(?:&[lg]t;)?[\d.]+ %|--[a-z-]+(?: \d+)?")


@dataclass(frozen=True, kw_only=True)
class Sentence:
    subject: str  # what it is about, shown in bold; "": it names none
    rest: Markup


@dataclass(frozen=True, kw_only=True)
class DrawnFigure:
    """A figure with its caption, and the two sentences that read it."""

    id: str
    title: str
    caption: str
    data: Markup  # the plotly figure's JSON
    is_broad: bool = False
    reading: str = ""


def list_warnings(
    records: SweepRecords, reload_s: int | None = None, *, is_served: bool = False
) -> list[str]:
    """What to know before reading on; `reload_s`: how often the page is written anew."""
    lines = []
    if records.is_running:
        counts = records.describe_states()
        wanted = records.config.get("trials") or "?"
        written = time.strftime("%H:%M:%S")
        current = (
            "The page keeps itself current."
            if is_served
            else f"The page reloads itself every {reload_s} s; written at {written}."
            if reload_s
            else f"As it was at {written}: write it anew with python -m analysis.report "
            f"{records.folder.name}, or keep it current with --follow."
        )
        lines.append(
            f"Partial report: the sweep has not ended ({counts or 'no trials'} of {wanted}). "
            + current
        )
    if not any(t.evals for t in records.trials):
        lines.append("No trial has a score yet.")
    return [*lines, *(f"{w}." for w in records.warnings)]


def list_tiles(records: SweepRecords, entries: Sequence[Entry]) -> list[tuple[str, str]]:
    """(label, figure)."""
    counts = records.count_states()
    pruned = str(counts.get("PRUNED", 0))
    n_trials = len(records.searched)
    tiles = [("trial" if n_trials == 1 else "trials", str(n_trials)), ("stopped early", pruned)]
    scored = [e for e in entries if e.value is not None]
    if scored:
        best = "highest" if scored[0].evals[0].sign > 0 else "lowest"
        label = f"{best} {label_objective(scored[0].objective)}"
        tiles.insert(0, (label, format_score(scored[0].value, scored[0].objective)))
        base = next((e for e in scored if e.trial.is_base), None)
        if base is not None:
            tiles.insert(1, ("untuned", format_score(base.value, base.objective)))
    if hours := sum(measure_gpu_hours(records.trials).values()):
        cost, _, unit = format_hours(hours, name_hours(records.trials)).partition(" ")
        lasted, _, of_time = format_hours(worked_s(records.trials) / 3600, "hours").partition(" ")
        tiles.append((unit, cost))
        if lasted != cost:  # on one machine without a GPU it is the same again
            tiles.append((f"{of_time} at work", lasted))
    return tiles


def spell_verdict(records: SweepRecords) -> dict[str, Any] | None:
    """The answer's first sentence, large, and the table of choices."""
    verdict = find_verdict(records)
    if verdict is None:
        return None
    return {
        "sentence": split_subject(state(verdict)[0]),
        "rows": tabulate(verdict),
        "text_columns": (verdict.asked or "trial", "with"),
    }


def list_answers(records: SweepRecords, entries: Sequence[Entry]) -> list[Sentence]:
    sentences = answer(records, entries)
    return [split_subject(s) for s in (sentences[1:] if find_verdict(records) else sentences)]


def split_subject(sentence: str) -> Sentence:
    subject, colon, rest = sentence.partition(": ")
    if not rest or len(subject) > MAX_SUBJECT:
        subject, colon, rest = "", "", sentence
    marked = WHOLE.sub(r'<span class="whole">\g<0></span>', str(escape(rest)))
    return Sentence(subject=subject + colon, rest=Markup(marked))


def list_failures(records: SweepRecords) -> list[dict[str, str]]:
    return [
        {
            **{"id": t.id, "reason": t.reason or "no reason recorded"},
            **{"before": _tell_last(t), "params": label_params(t.params)},
        }
        for t in records.trials
        if t.state == "FAIL"
    ]


def _tell_last(trial: TrialRecord) -> str:
    """What it had reached before it failed."""
    if trial.last is None:
        return ""
    loss = trial.last.nats_per_word
    score = format_score(trial.last.value, trial.last.name)
    known = [f"{label_objective(trial.last.name)} {score}" if score else ""]
    known += [f"loss {loss:.3f}" if loss is not None else ""]
    return f"; before, at {trial.last.turns_seen} turns: {', '.join(filter(None, known))}"


def draw_figures(records: SweepRecords) -> tuple[list[DrawnFigure], list[tuple[str, str]]]:
    """Those that say something; of the others their titles, and what they would need."""
    drawn, missing = [], []
    for plot in CATALOGUE:
        try:
            drawn.append(_draw(plot, records))
        except NothingToPlot as reason:
            missing.append((plot.title, str(reason)))
    return drawn, missing


def _draw(plot: Plot, records: SweepRecords) -> DrawnFigure:
    """Raises NothingToPlot."""
    figure = plot.draw(records)
    return DrawnFigure(
        id=plot.id,
        title=plot.title,
        caption=plot.caption,
        data=embed(figure.to_json()),
        is_broad=plot.is_broad,
        reading=plot.read(figure, records),
    )


def list_configurations(entries: Sequence[Entry]) -> list[dict[str, str]]:
    """The best three, to be copied."""
    return [
        {
            "id": entry.trial.id,
            "score": f"{label_objective(entry.objective)} "
            + (format_value_of(entry) or "not measured yet"),
            "config": json.dumps(dict(entry.trial.config), indent=2),
            "flags": " ".join(
                f"--set {shlex.quote(f'{k}={v}')}" for k, v in entry.trial.params.items()
            ),
        }
        for entry in [e for e in entries if not e.trial.is_base][:3]
    ]


def collect_facts(records: SweepRecords) -> dict[str, Any]:
    first = next((e for t in records.trials for e in t.evals), None)
    created = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(records.created_s))
    devices = {t.resolved.device for t in records.trials if t.resolved and t.resolved.device}
    config = {k: v for k, v in records.config.items() if k not in ("base", "storage", "name")}
    return {
        "space": records.space.get("name"),
        "started": created,
        "devices": ", ".join(sorted(devices)),
        "validated on": f"{first.split}, {first.states} states" if first else "",
        "scored at": ", ".join(f"{turns} turns" for turns in records.milestones_turns if turns),
        **{k.replace("_", " "): _spell(v) for k, v in config.items() if v is not None},
        "versions": ", ".join(f"{k} {v}" for k, v in records.versions.items()),
        "commit": records.commit,
    }


def _spell(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
