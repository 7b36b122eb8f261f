"""The parts of the report's page as HTML. Every text from a record is escaped."""

from __future__ import annotations

import json
import re
import shlex
import time
from collections.abc import Sequence
from html import escape
from typing import Any
from urllib.parse import quote

from analysis.answers import answer
from analysis.curves import measure_gpu_hours, name_hours, worked_s
from analysis.labels import format_hours, format_score, label_objective, label_params
from analysis.leaderboard import describe
from analysis.plots import CATALOGUE, NothingToPlot, Plot
from analysis.ranking import Entry
from analysis.readings import read_figure
from analysis.records import SweepRecords, TrialRecord
from analysis.rows import format_value_of
from analysis.verdict import find_verdict, tabulate
from analysis.wording import state

__all__ = ["escape"]

MAX_SUBJECT = 60
# no line ends within 1e-05, <1 % or --seeds 3
WHOLE = re.compile(r"[\d.]+e-\d+|(?:&[lg]t;)?[\d.]+ %|--[a-z-]+(?: \d+)?")


def show_banner(
    records: SweepRecords, reload_s: int | None = None, *, is_served: bool = False
) -> str:
    """What to know before reading on; `reload_s`: how often the page is written anew."""
    lines = []
    if records.is_running:
        counts = ", ".join(f"{n} {state.lower()}" for state, n in records.count_states().items())
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
    lines += [f"{w}." for w in records.warnings]
    return "".join(f'<p class="banner" role="note">{escape(line)}</p>' for line in lines)


def show_live(version: str) -> str:
    return (
        f'<span id="live" class="live" role="status" data-version="{escape(version)}">live</span>'
    )


def show_links(names: Sequence[str]) -> str:
    """To the other sweeps that the same server shows."""
    every = '<a href="../">All sweeps</a> ' if names else ""
    return every + "".join(f'<a href="../{quote(n)}/">{escape(n)}</a> ' for n in names)


def show_tiles(records: SweepRecords, entries: Sequence[Entry]) -> str:
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
    return "".join(f"<li><b>{escape(v)}</b>{escape(k)}</li>" for k, v in tiles)


def show_verdict(records: SweepRecords) -> str:
    """The answer's first sentence, large, and the table of choices."""
    verdict = find_verdict(records)
    if verdict is None:
        return ""
    rows = tabulate(verdict)
    texts = (verdict.asked or "trial", "with")
    kinds = {name: "text" if name in texts else "number" for name in rows[0]}
    header = "".join(f'<th scope="col" class="{kinds[n]}">{escape(n)}</th>' for n in kinds)
    body = "".join(
        "<tr>"
        + "".join(f'<td class="{kinds[n]}">{escape(t)}</td>' for n, t in row.items())
        + "</tr>"
        for row in rows
    )
    return (
        f'<p class="verdict">{_show_answer(state(verdict)[0])}</p>'
        '<div class="scroll" role="region" aria-label="The choices, scrolls sideways" tabindex="0">'
        f'<table id="choices"><caption class="hidden">The choices, in rank</caption>'
        f"<thead><tr>{header}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def show_answers(records: SweepRecords, entries: Sequence[Entry]) -> str:
    sentences = answer(records, entries)
    rest = sentences[1:] if find_verdict(records) else sentences
    return "".join(f"<li>{_show_answer(s)}</li>" for s in rest)


def _show_answer(sentence: str) -> str:
    """The sentence, what it is about in bold."""
    subject, colon, rest = sentence.partition(": ")
    if not rest or len(subject) > MAX_SUBJECT:
        subject, colon, rest = "", "", sentence
    rest = WHOLE.sub(r'<span class="whole">\g<0></span>', escape(rest))
    return f"<b>{escape(subject + colon)}</b>{rest}" if subject else rest


def show_legend(records: SweepRecords, entries: Sequence[Entry]) -> str:
    return escape(" ".join(describe(records, entries).splitlines()))


def show_failures(records: SweepRecords) -> str:
    failed = [t for t in records.trials if t.state == "FAIL"]
    if not failed:
        return ""
    items = "".join(
        f"<li>{escape(t.id)}: {escape(t.reason or 'no reason recorded')}{_tell_last(t)} "
        f'<span class="note">({escape(label_params(t.params))})</span></li>'
        for t in failed
    )
    return f"<h3>Failed trials</h3><ul>{items}</ul>"


def _tell_last(trial: TrialRecord) -> str:
    """What it had reached before it failed."""
    if trial.last is None:
        return ""
    loss = trial.last.nats_per_word
    score = format_score(trial.last.value, trial.last.name)
    known = [f"{label_objective(trial.last.name)} {score}" if score else ""]
    known += [f"loss {loss:.3f}" if loss is not None else ""]
    return f"; before, at {trial.last.turns_seen} turns: {', '.join(filter(None, known))}"


def show_figures(records: SweepRecords) -> str:
    """Those that say something; then, in one list, what the others would need."""
    drawn, missing = [], []
    for plot in CATALOGUE:
        try:
            drawn.append(_show_plot(plot, records))
        except NothingToPlot as reason:
            missing.append(f"<li><b>{escape(plot.title)}</b>: {escape(str(reason))}.</li>")
    rest = f'<div class="note"><p>Not drawn:</p><ul>{"".join(missing)}</ul></div>'
    return f'<div class="figures">{"".join(drawn)}</div>{rest if missing else ""}'


def _show_plot(plot: Plot, records: SweepRecords) -> str:
    """A figure between its caption and the two sentences that read it. Raises NothingToPlot."""
    figure = plot.draw(records)
    content = show_figure(plot.id, plot.title, plot.caption, figure.to_json())
    told = escape(read_figure(plot, figure, records))
    kind = ' class="broad"' if plot.is_broad else ""
    reading = f'<p class="reading" id="figure-{plot.id}-reading">{told}</p>'
    return f"<figure{kind}>{content}{reading}</figure>"


def show_figure(name: str, title: str, caption: str, content: str) -> str:
    """What stands in a <figure>. `content`: the plotly figure's JSON."""
    data = content.replace("</", "<\\/")
    label = escape(f"{title}. {caption}")
    return (
        f"<figcaption><h3>{escape(title)}</h3>{escape(caption)}</figcaption>"
        f'<div class="pan"><div class="plot" id="figure-{name}" role="group" '
        f'aria-label="{label}"></div></div>'
        f'<script type="application/json" id="figure-{name}-data">{data}</script>'
    )


def show_configurations(entries: Sequence[Entry]) -> str:
    best = [e for e in entries if not e.trial.is_base][:3]
    if not best:
        return '<p class="note">There is none yet.</p>'
    return "".join(_show_configuration(entry, i == 0) for i, entry in enumerate(best))


def _show_configuration(entry: Entry, is_open: bool) -> str:
    config = dict(entry.trial.config)
    flags = " ".join(f"--set {shlex.quote(f'{k}={v}')}" for k, v in entry.trial.params.items())
    score = format_value_of(entry) or "not measured yet"
    return (
        f"<details{' open' if is_open else ''}><summary>Trial {escape(entry.trial.id)} "
        f"<span>{escape(label_objective(entry.objective))} {escape(score)}</span></summary>"
        f'<div class="command"><pre tabindex="0">{escape(json.dumps(config, indent=2))}</pre>'
        '<button type="button" class="copy">Copy</button></div>'
        f'<pre class="flags" tabindex="0">{escape(flags)}</pre></details>'
    )


def show_facts(records: SweepRecords) -> str:
    first = next((e for t in records.trials for e in t.evals), None)
    created = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(records.created_s))
    devices = {t.resolved.device for t in records.trials if t.resolved and t.resolved.device}
    config = {k: v for k, v in records.config.items() if k not in ("base", "storage", "name")}
    facts = {
        "space": records.space.get("name"),
        "started": created,
        "devices": ", ".join(sorted(devices)),
        "validated on": f"{first.split}, {first.states} states" if first else "",
        "scored at": ", ".join(f"{turns} turns" for turns in records.levels_turns if turns),
        **{k.replace("_", " "): _spell(v) for k, v in config.items() if v is not None},
        "versions": ", ".join(f"{k} {v}" for k, v in records.versions.items()),
        "commit": records.commit,
    }
    return "".join(
        f"<dt>{escape(str(k))}</dt><dd>{escape(str(v))}</dd>" for k, v in facts.items() if v
    )


def _spell(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def show_notes(records: SweepRecords) -> str:
    if not records.notes:
        return ""
    items = "".join(f"<li>{escape(note)}</li>" for note in records.notes)
    return f"<h3>What happened on the way</h3><ul>{items}</ul>"
