"""The report's page from a sweep's records: its parts put into page/page.html."""

from collections.abc import Sequence
from dataclasses import dataclass

from analysis import sections, trial_page
from analysis.board import lay_out
from analysis.examples import choose_examples
from analysis.leaderboard import describe
from analysis.ranking import rank_trials
from analysis.records import SweepRecords
from analysis.templates import read_plotly, read_scripts, read_style, render

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
    figures, missing = sections.draw_figures(records)
    return render(
        "page",
        title=records.name,
        css=read_style(),
        js=read_scripts([n for n in SCRIPTS if served or n != LIVE]),
        plotly="" if is_part else read_plotly(),
        served=served,
        reloads=bool(reload_s and records.is_running),
        reload_s=reload_s,
        banner=sections.list_warnings(records, reload_s, is_served=served is not None),
        question=records.space.get("question") or "What did the sweep find?",
        verdict=sections.spell_verdict(records),
        answers=sections.list_answers(records, entries),
        tiles=sections.list_tiles(records, entries),
        legend=" ".join(describe(records, entries).splitlines()),
        board=lay_out(entries),
        failures=sections.list_failures(records),
        figures=figures,
        missing=missing,
        examples=choose_examples({t.id: (records, t) for t in best}, count=EXAMPLE_DIALOGUES),
        configurations=sections.list_configurations(entries),
        ways=trial_page.list_sweep_commands(records),
        known=sections.collect_facts(records),
        notes=records.notes,
        trials=[{"id": t.id, "content": trial_page.show_trial(records, t)} for t in records.trials],
    )
