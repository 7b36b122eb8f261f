"""The parts of the report's page as HTML. Every text from a record is escaped."""

from __future__ import annotations

import json
import re
import shlex
import time
from collections.abc import Sequence
from html import escape
from typing import Any

from analysis.answers import answer
from analysis.curves import measure_gpu_hours, name_hours, worked_s
from analysis.examples import Example, Exchange
from analysis.labels import format_hours, label_params
from analysis.leaderboard import describe
from analysis.plots import CATALOGUE, NothingToPlot, Plot
from analysis.ranking import Entry
from analysis.records import SweepRecords
from analysis.rows import format_combined, searched_fields, to_cells, to_row
from analysis.verdict import find_verdict, tabulate
from analysis.wording import state

__all__ = ["escape"]

ALWAYS = ("rank", "trials", "Combined", "to first", "Bleu", "Success", "Inform", "Richness")
ALWAYS_LAST = ("trainable", "turns", "seeds", "state")
MAX_SUBJECT = 60
EXPONENT = re.compile(r"[\d.]+e-\d+")
SLOT = re.compile(r"\[[\w ]+\]")


def show_banner(records: SweepRecords, reload_s: int | None) -> str:
    """What to know before reading on; `reload_s`: how often the page is written anew."""
    lines = []
    if records.is_running:
        counts = ", ".join(f"{n} {state.lower()}" for state, n in records.count_states().items())
        wanted = records.config.get("trials") or "?"
        written = time.strftime("%H:%M:%S")
        current = (
            f"The page reloads itself every {reload_s} s; written at {written}."
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


def show_tiles(records: SweepRecords, entries: Sequence[Entry]) -> str:
    counts = records.count_states()
    pruned = str(counts.get("PRUNED", 0))
    n_trials = len(records.searched)
    tiles = [("trial" if n_trials == 1 else "trials", str(n_trials)), ("stopped early", pruned)]
    scored = [e for e in entries if e.combined is not None]
    if scored:
        tiles.insert(0, ("highest Combined", f"{scored[0].combined:.1f}"))
        base = next((e for e in scored if e.trial.is_base), None)
        if base is not None:
            tiles.insert(1, ("untuned", f"{base.combined:.1f}"))
    if hours := sum(measure_gpu_hours(records.trials).values()):
        cost, _, unit = format_hours(hours, name_hours(records.trials)).partition(" ")
        lasted, _, of_time = format_hours(worked_s(records.trials) / 3600, "hours").partition(" ")
        tiles += [(unit, cost), (f"{of_time} at work", lasted)]
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
    """The sentence, what it is about in bold; no line ends within 1e-05."""
    subject, colon, rest = sentence.partition(": ")
    if not rest or len(subject) > MAX_SUBJECT:
        subject, colon, rest = "", "", sentence
    rest = EXPONENT.sub(r'<span class="whole">\g<0></span>', escape(rest))
    return f"<b>{escape(subject + colon)}</b>{rest}" if subject else rest


def show_legend(records: SweepRecords, entries: Sequence[Entry]) -> str:
    return escape(" ".join(describe(records, entries).splitlines()))


def show_board(entries: Sequence[Entry]) -> tuple[str, str]:
    """The leaderboard's header cells and rows."""
    cells = [to_cells(entry) for entry in entries]
    raw = [to_row(entry) for entry in entries]
    fields = searched_fields(entries)
    there = list(dict.fromkeys(name for row in cells for name in row))
    shown = [*ALWAYS, *fields, *ALWAYS_LAST]
    columns = [*(c for c in shown if c in there), *(c for c in there if c not in shown)]
    numeric = {c for c in columns if _is_number_column([row.get(c) for row in raw])}
    header = "".join(_show_header(c, c in numeric, c not in shown) for c in columns)
    body = []
    for i, entry in enumerate(entries):
        kinds = ["base"] if entry.trial.is_base else []
        if i and entries[i - 1].level_turns != entry.level_turns:
            kinds.append("first")
        row = "".join(
            _show_cell(c, cells[i].get(c, ""), raw[i].get(c), c in numeric, c not in shown)
            for c in columns
        )
        body.append(f'<tr class="{" ".join(kinds)}">{row}</tr>')
    return header, "".join(body)


def _is_number_column(values: Sequence[Any]) -> bool:
    known = [v for v in values if v is not None]
    return bool(known) and all(isinstance(v, int | float) for v in known)


def _show_header(name: str, numeric: bool, more: bool) -> str:
    kinds = [*(["number"] if numeric else []), *(["more"] if more else [])]
    first = "descending" if numeric and name not in ("rank", "trainable", "params") else "ascending"
    return (
        f'<th scope="col" class="{" ".join(kinds)}" data-first="{first}">'
        f'<button type="button">{escape(name)}</button></th>'
    )


def _show_cell(name: str, text: str, value: Any, numeric: bool, more: bool) -> str:
    kinds = ["number" if numeric else "text", *(["more"] if more else [])]
    shown = escape(text)
    if name == "state":
        shown = f'<span class="state {shown}">{shown.lower()}</span>'
    title = f' title="{escape(text)}"' if len(text) > 24 else ""
    known = "" if value is None else escape(str(value))
    return f'<td class="{" ".join(kinds)}" data-value="{known}"{title}>{shown}</td>'


def show_failures(records: SweepRecords) -> str:
    failed = [t for t in records.trials if t.state == "FAIL"]
    if not failed:
        return ""
    items = "".join(
        f"<li>{escape(t.id)}: {escape(t.reason or 'no reason recorded')} "
        f'<span class="note">({escape(label_params(t.params))})</span></li>'
        for t in failed
    )
    return f"<h3>Failed trials</h3><ul>{items}</ul>"


def show_figures(records: SweepRecords) -> str:
    return "".join(_show_figure(plot, records) for plot in CATALOGUE)


def _show_figure(plot: Plot, records: SweepRecords) -> str:
    kind = ' class="broad"' if plot.is_broad else ""
    caption = f"<figcaption><h3>{escape(plot.title)}</h3>{escape(plot.caption)}</figcaption>"
    try:
        data = plot.draw(records).to_json().replace("</", "<\\/")
    except NothingToPlot as reason:
        why = f'<p class="note">Nothing to show: {escape(str(reason))}.</p>'
        return f"<figure{kind}>{caption}{why}</figure>"
    name = f"figure-{plot.id}"
    return (
        f'<figure{kind}>{caption}<div class="pan"><div class="plot" id="{name}" role="img" '
        f'aria-label="{escape(f"{plot.title}. {plot.caption}")}"></div></div>'
        f'<script type="application/json" id="{name}-data">{data}</script></figure>'
    )


def show_dialogues(examples: Sequence[Example]) -> str:
    if not examples:
        return '<p class="note">No generated dialogues are recorded.</p>'
    note = ""
    if examples[0].exchanges and examples[0].exchanges[0].user is None:
        note = '<p class="note">The corpus is not at hand: users and gold replies are left out.</p>'
    return note + "".join(_show_example(e, i == 0) for i, e in enumerate(examples))


def _show_example(example: Example, is_open: bool) -> str:
    outcomes = ", ".join(f"{trial}: {how}" for trial, how in example.outcomes.items())
    turns = "".join(_show_exchange(e) for e in example.exchanges)
    return (
        f"<details{' open' if is_open else ''}><summary>{escape(example.dialogue)} "
        f"<span>{escape(outcomes)}</span></summary>{turns}</details>"
    )


def _show_exchange(exchange: Exchange) -> str:
    user = "" if exchange.user is None else _show_speech("user", exchange.user)
    gold = "" if exchange.gold is None else _show_reply("corpus", exchange.gold, "gold")
    replies = "".join(_show_reply(f"trial {r.trial}", r.text) for r in exchange.replies)
    return f'<div class="exchange">{user}<div class="replies">{gold}{replies}</div></div>'


def _show_speech(who: str, text: str) -> str:
    return f'<p class="user"><span class="who">{escape(who)}</span>{escape(text)}</p>'


def _show_reply(who: str, text: str, kind: str = "") -> str:
    marked = SLOT.sub(lambda m: f"<mark>{m[0]}</mark>", escape(text)) or "<em>empty</em>"
    return f'<div class="{kind}"><span class="who">{escape(who)}</span><p>{marked}</p></div>'


def show_configurations(entries: Sequence[Entry]) -> str:
    best = [e for e in entries if not e.trial.is_base][:3]
    if not best:
        return '<p class="note">There is none yet.</p>'
    return "".join(_show_configuration(entry, i == 0) for i, entry in enumerate(best))


def _show_configuration(entry: Entry, is_open: bool) -> str:
    config = dict(entry.trial.config)
    flags = " ".join(f"--set {shlex.quote(f'{k}={v}')}" for k, v in entry.trial.params.items())
    name = f"config-{entry.trial.id}"
    score = format_combined(entry) or "not measured yet"
    return (
        f"<details{' open' if is_open else ''}><summary>Trial {escape(entry.trial.id)} "
        f"<span>Combined {escape(score)}</span></summary>"
        f'<button type="button" class="copy" data-copies="{name}">Copy</button>'
        f'<pre id="{name}" tabindex="0">{escape(json.dumps(config, indent=2))}</pre>'
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
