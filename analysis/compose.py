"""The report's page from a sweep's records: its parts put into the template under page/."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template

from plotly.offline import get_plotlyjs

from analysis import sections, trial_page
from analysis.board import show_board
from analysis.dialogue_page import show_dialogues
from analysis.examples import choose_examples
from analysis.ranking import rank_trials
from analysis.records import SweepRecords

PAGE = Path(__file__).with_name("page")
EXAMPLE_TRIALS, EXAMPLE_DIALOGUES = 3, 4
LIVE = "5_live"  # the script of a page that a server keeps current
SCRIPTS = ("1_theme", "2_figures", "3_filter", "4_board", LIVE, "6_start", "8_paper")


@dataclass(frozen=True, kw_only=True)
class Served:
    """How a page is given out by a server that keeps it current."""

    version: str  # of what it shows
    links: Sequence[str] = ()  # other sweeps beside it


def compose_page(
    records: SweepRecords,
    reload_s: int | None = None,
    served: Served | None = None,
    *,
    is_part: bool = False,
) -> str:
    """The page's HTML; `is_part`: without plotly, for a page that has it."""
    entries = rank_trials(records)
    best = [e.trial for e in entries if not e.trial.is_base][:EXAMPLE_TRIALS]
    examples = choose_examples({t.id: (records, t) for t in best}, count=EXAMPLE_DIALOGUES)
    columns, rows = show_board(entries)
    return Template((PAGE / "page.html").read_text("utf-8")).substitute(
        title=sections.escape(records.name),
        css=(PAGE / "page.css").read_text("utf-8"),
        js=read_scripts([n for n in SCRIPTS if served or n != LIVE]),
        plotly=""
        if is_part
        else f'<script type="text/plain" id="plotly">{get_plotlyjs()}</script>',
        own="'self'" if served else "'none'",
        live=sections.show_live(served.version) if served else "",
        others=sections.show_links(served.links) if served else "",
        trials=trial_page.show_trials(records),
        commands=trial_page.show_commands(trial_page.list_sweep_commands(records)),
        reload=f'<meta http-equiv="refresh" content="{reload_s}">'
        if reload_s and records.is_running
        else "",
        banner=sections.show_banner(records, reload_s, is_served=served is not None),
        question=sections.escape(str(records.space.get("question") or "What did the sweep find?")),
        tiles=sections.show_tiles(records, entries),
        verdict=sections.show_verdict(records),
        answers=sections.show_answers(records, entries),
        legend=sections.show_legend(records, entries),
        columns=columns,
        rows=rows,
        failures=sections.show_failures(records),
        figures=sections.show_figures(records),
        dialogues=show_dialogues(examples),
        configurations=sections.show_configurations(entries),
        facts=sections.show_facts(records),
        notes=sections.show_notes(records),
    )


def read_scripts(names: Sequence[str]) -> str:
    return "\n".join((PAGE / f"{name}.js").read_text("utf-8") for name in names)
