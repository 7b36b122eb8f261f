"""The live table's rows: a line a trial, with as many searched fields as the terminal holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from analysis.curves import draw_sparkline, split_by_dialogues
from analysis.labels import abbreviate, format_score, format_value, label_objective
from analysis.records import RUNNING, EvalRecord, TrialRecord
from tune.terminal.bars import render_activity
from tune.terminal.progress import SweepProgress

WAITING = "WAITING"
# legible on dark and on light terminals alike: only what failed has a colour
STATE_STYLES = {
    **{"COMPLETE": "", "PRUNED": "dim", "RUNNING": "bold", "FAIL": "bold red"},
    WAITING: "",
}
NARROW, BROAD = 72, 110  # cells of a terminal: below, gaps are small; from there on bars are shown
CURVE_POINTS, BAR = 8, 8
OTHER_DIALOGUES = "┊"
CELLS = (40, 14, 10)  # of a value, before it is abbreviated: as few as show one field more
MORE_CELLS = 4  # "+12"

Scale = tuple[float, float]  # a curve's lowest and highest value


@dataclass(frozen=True, kw_only=True)
class ColumnLayout:
    """What stands in the lines of a terminal `width` cells wide."""

    gap: int
    curve: int
    has_bars: bool

    @classmethod
    def of(cls, width: int) -> ColumnLayout:
        narrow = width < NARROW
        return cls(
            gap=1 if narrow else 2, curve=6 if narrow else CURVE_POINTS, has_bars=width >= BROAD
        )


@dataclass(frozen=True, kw_only=True)
class Field:
    """A column of one searched field: its name folded at `_`, its values by trial."""

    header: str
    values: tuple[str, ...]

    @property
    def width(self) -> int:
        return max(map(len, (*self.header.split("\n"), *self.values)))


def render_trials(progress: SweepProgress, width: int, n_rows: int) -> Table:
    """At most `n_rows` lines: the trials at work, the first in rank, then those that ended last."""
    shown = choose_rows(progress, n_rows)
    layout, is_loss = ColumnLayout.of(width), not _has_score_curves(progress.trials)
    table = Table(box=None, pad_edge=False, padding=(0, layout.gap, 0, 0))
    table.add_column("trial", no_wrap=True, vertical="bottom")
    for name in ("turns", label_objective(progress.objective), "loss"):
        table.add_column(name, justify="right", no_wrap=True, min_width=len(name))
    curve = "loss curve" if is_loss else "curve"
    table.add_column(curve.replace(" ", "\n"), no_wrap=True, min_width=layout.curve)
    table.add_column("now", no_wrap=True, min_width=11 + BAR if layout.has_bars else 10)
    scale = _find_scale(progress.trials, is_loss)
    cells = [[*_show_trial(t, progress, layout, scale, is_loss=is_loss)] for t in shown]
    room = width - _measure(table, cells, layout.gap)
    asked = str((progress.sweep.get("space") or {}).get("name"))
    tried = [fit_fields(list_fields(shown, asked, n), room, layout.gap) for n in CELLS]
    fields, n_more = max(tried, key=lambda fitting: len(fitting[0]))
    for field in fields:
        table.add_column(field.header, no_wrap=True, min_width=field.width)
    if n_more:
        table.add_column(f"+{n_more}", no_wrap=True, style="dim")
    best = progress.best.trial.id if progress.best else None
    for i, (trial, row) in enumerate(zip(shown, cells, strict=True)):
        style = "bold" if trial.id == best else STATE_STYLES[trial.state].replace("bold", "")
        more = ["…"] if n_more else []
        table.add_row(*row, *(f.values[i] for f in fields), *more, style=style)
    if (hidden := len(_list_open(progress)) - sum(t.state == RUNNING for t in shown)) > 0:
        table.add_row(f"+{hidden}")
    return table


def choose_rows(progress: SweepProgress, n_rows: int) -> list[TrialRecord]:
    open_trials, trials = _list_open(progress), list(progress.ledger.trials.values())
    best = [progress.best.trial] if progress.best else []
    ended = sorted((t for t in trials if t.state != RUNNING), key=lambda t: -(t.ended_s or 0.0))
    chosen = {t.id: t for t in (*open_trials, *best, *ended)}
    return list(chosen.values())[:n_rows]


def _list_open(progress: SweepProgress) -> list[TrialRecord]:
    """Those at work first."""
    return [*progress.at_work, *progress.waiting]


def _show_trial(
    trial: TrialRecord,
    progress: SweepProgress,
    layout: ColumnLayout,
    scale: Scale,
    *,
    is_loss: bool,
) -> list[RenderableType]:
    scores = [e.value for e in trial.replied if e.value is not None]
    losses = [e.nats_per_word for e in trial.evals if e.nats_per_word is not None]
    measured = [e for e in trial.evals if _pick(e, is_loss) is not None][-layout.curve :]
    return [
        trial.id,
        str(_count_turns(trial, progress)),
        format_score(scores[-1], progress.objective) if scores else "",
        f"{losses[-1]:.3f}" if losses else "",
        _draw_curve(measured, scale, is_loss=is_loss),
        _show_now(trial, progress, layout),
    ]


def _draw_curve(evals: Sequence[EvalRecord], scale: Scale, *, is_loss: bool) -> str:
    """A block a value, and a bar between values on different dialogues, which do not compare."""
    low, high = scale
    runs = split_by_dialogues(evals)[0]
    values = ([v for e in run if (v := _pick(e, is_loss)) is not None] for run in runs)
    return OTHER_DIALOGUES.join(draw_sparkline(run, low=low, high=high) for run in values)


def _pick(evaluation: EvalRecord, is_loss: bool) -> float | None:
    return evaluation.nats_per_word if is_loss else evaluation.value


def _count_turns(trial: TrialRecord, progress: SweepProgress) -> int:
    """Trained on so far, a step that is not evaluated yet included."""
    recorded = trial.last.turns_seen if trial.last else 0
    now = progress.heartbeats.activities.get(trial.id) if trial.state == RUNNING else None
    return max(recorded, int(now.done)) if now and now.what == "training" else recorded


def _has_score_curves(trials: Sequence[TrialRecord]) -> bool:
    """Whether rungs generate: else there is one Combined a trial, and its curve is the loss's."""
    known = [t for t in trials if len(t.evals) > 1]
    return not known or any(len(t.replied) > 1 for t in known)


def _find_scale(trials: Sequence[TrialRecord], is_loss: bool) -> Scale:
    """Of all curves: from 0 to the highest objective, or from the lowest loss to the highest."""
    evals = [e for t in trials for e in t.evals]
    if not is_loss:
        return 0.0, max((e.value for e in evals if e.value is not None), default=100.0)
    known = [e.nats_per_word for e in evals if e.nats_per_word is not None]
    return min(known, default=0.0), max(known, default=1.0)


def _show_now(trial: TrialRecord, progress: SweepProgress, layout: ColumnLayout) -> RenderableType:
    if trial.state != RUNNING:
        return Text(trial.state.lower(), style=STATE_STYLES[trial.state])
    activity = progress.heartbeats.activities.get(trial.id)
    if activity is None:
        return "" if progress.is_at_work(trial) else "waiting"
    return render_activity(activity, width=BAR) if layout.has_bars else activity.what


def list_fields(trials: Sequence[TrialRecord], asked: str, n_cells: int) -> list[Field]:
    """The field that the space is named after, the learning rate, the other searched fields in the
    space's order, then what is alike in all these trials."""
    names = dict.fromkeys(name for t in trials for name in t.params if name != "seed")
    values = {name: tuple(_show_value(t, name, n_cells) for t in trials) for name in names}
    alike = {name for name in names if len({t.params.get(name, "") for t in trials}) == 1}
    first = {asked: 0, "learning_rate": 1}
    varying = sorted(names, key=lambda name: (name in alike, first.get(name, 2)))
    return [Field(header=name.replace("_", "_\n"), values=values[name]) for name in varying]


def _show_value(trial: TrialRecord, name: str, n_cells: int) -> str:
    if name not in trial.params:
        return ""
    return abbreviate(format_value(trial.params[name]), n_cells)


def fit_fields(fields: Sequence[Field], room: int, gap: int) -> tuple[list[Field], int]:
    """The first of them that fit into `room` cells, and how many do not.

    >>> narrow = Field(header="rank", values=("8", "16"))
    >>> len(fit_fields([narrow] * 3, 18, 2)[0]), fit_fields([narrow] * 3, 17, 2)[1]
    (3, 1)
    """
    total = sum(f.width + gap for f in fields)
    if total <= room:
        return list(fields), 0
    left, chosen = room - MORE_CELLS, []
    for field in fields:
        if field.width + gap > left:
            break
        left -= field.width + gap
        chosen.append(field)
    return chosen, len(fields) - len(chosen)


def _measure(table: Table, rows: list[list[RenderableType]], gap: int) -> int:
    """Cells that the columns so far take."""
    widths = []
    for i, column in enumerate(table.columns):
        texts = [str(row[i]) for row in rows if isinstance(row[i], str | Text)]
        title = str(column.header).split("\n")
        widths.append(max(map(len, (*texts, *title)), default=0))
        widths[-1] = max(widths[-1], column.min_width or 0)
    return sum(widths) + gap * len(widths)
