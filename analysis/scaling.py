"""Compares the same sweep on more and more GPUs with the first one named:
`python -m analysis.scaling NAME NAME ...`
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean

from analysis.curves import Gpu, gpu_of, trained_turns
from analysis.labels import to_markdown
from analysis.machines import all_evals, count_room, share_time, worked_until
from analysis.ranking import Entry, find_best
from analysis.records import EvalRecord, SweepRecords, find_sweep, read_sweep
from analysis.rows import format_value_of
from trainable.command.flags import add_names
from trainable.command.outcome import Outcome, make_main, start_command
from trainable.command.parser import Parser
from trainable.trial import ConfigError

COLUMNS = (
    *("sweep", "GPUs", "trials", "minutes", "trials/hour"),
    *("turns trained", "turns/s on each GPU", "efficiency", "after the start-up"),
    *("start-up, s", "idle tail, s", "slots busy", "in the last quarter", "GPUs busy"),
    *("evaluations on each GPU", "engines", "highest score"),
)
Span = tuple[float, float]  # (start, end)


@dataclass(frozen=True, kw_only=True)
class Run:
    """One sweep as a piece of work."""

    name: str
    gpus: int
    trials: int  # that have ended
    seconds: float  # from its start to its last evaluation, pauses left out
    turns: int  # that all trials together trained on; pruning decides how many
    start_s: float | None  # from the sweep's start until a GPU held its first trial, mean over GPUs
    tail_s: float  # from a GPU's last evaluation to the sweep's last, mean over GPUs
    # share of the slots' time with a trial in them, 0..1, from the sweep's start to its last
    # evaluation: of all of it, and of its last quarter
    slots_busy: float
    slots_busy_last_quarter: float
    busy: float  # share of the GPUs' time in training and validation, 0..1
    evals_a_gpu: tuple[int, ...]
    engines: int  # processes that held the model; more than GPUs where one was healed
    highest: str  # the objective with its interval, what that holds, and the trial

    @property
    def trials_per_h(self) -> float:
        return 3600 * self.trials / self.seconds

    @property
    def turns_a_gpu_s(self) -> float:
        """Turns trained in a second on each GPU: comparable where the sweeps' work is not."""
        return self.turns / (self.seconds * self.gpus)

    def efficiency(self, reference: Run) -> float:
        """By turns trained: 1 where as many are trained in a second on each GPU."""
        return self.turns_a_gpu_s / reference.turns_a_gpu_s

    def efficiency_later(self, reference: Run) -> float | None:
        """The same after the start-up of both; None: that is unknown of one."""
        if self.start_s is None or reference.start_s is None:
            return None
        own = 1 - self.start_s / self.seconds
        other = 1 - reference.start_s / reference.seconds
        return self.efficiency(reference) * other / own


def summarise(sweep: SweepRecords) -> Run:
    """Raises ConfigError where nothing was evaluated."""
    evals = all_evals(sweep)
    if not any(t.evals for t in sweep.searched):
        raise ConfigError(f"{sweep.name} has no evaluation of a trial yet: let it run")
    by_gpu = group_by_gpu(evals)
    starts = [start for own in by_gpu if (start := find_start(own)) is not None]
    end_s = max(e.time_s for e in evals)
    spans, slots = [(e.started_s, e.time_s) for e in evals], count_slots(sweep, len(by_gpu))
    last_quarter_s = end_s - (end_s - sweep.created_s) / 4
    first = find_best(sweep)
    return Run(
        name=sweep.name,
        gpus=len(by_gpu),
        trials=sum(t.state != "RUNNING" for t in sweep.searched),
        seconds=worked_until(sweep, end_s),
        turns=round(trained_turns(sweep.searched)),
        start_s=fmean(starts) - sweep.created_s if starts else None,
        tail_s=end_s - fmean(max(e.time_s for e in own) for own in by_gpu),
        slots_busy=fill(spans, (sweep.created_s, end_s)) / slots,
        slots_busy_last_quarter=fill(spans, (last_quarter_s, end_s)) / slots,
        busy=1 - share_time(sweep)["starting, waiting, idle"],
        evals_a_gpu=tuple(sorted(map(len, by_gpu))),
        engines=len({e.place.get("engine_pid") or e.place.get("pid") for e in evals}),
        highest=describe_score(first) if first and first.value is not None else "none",
    )


def count_slots(sweep: SweepRecords, gpus: int) -> int:
    """As many as were asked for with --pack; at least the most that were in use at once."""
    pack = str(sweep.config.get("pack") or "")
    return max(count_room(sweep), gpus * int(pack) if pack.isdigit() else 0)


def group_by_gpu(evals: Iterable[EvalRecord]) -> list[list[EvalRecord]]:
    groups: dict[Gpu, list[EvalRecord]] = defaultdict(list)
    for e in evals:
        groups[gpu_of(e)].append(e)
    return list(groups.values())


def find_start(evals: Iterable[EvalRecord]) -> float | None:
    """Unix time at which the first of a GPU's trials had its model; None: earlier records do not
    say."""
    known = (e.started_s + e.opening_s for e in evals if e.opening_s is not None)
    return min(known, default=None)


def fill(spans: Iterable[Span], within: Span) -> float:
    """How many spans there are at a time, on average over that time.

    >>> fill([(0, 4), (3, 9)], (2, 6))
    1.25
    """
    low, high = within
    covered_s = sum(max(min(end, high) - max(start, low), 0.0) for start, end in spans)
    return covered_s / (high - low)


def describe_score(entry: Entry) -> str:
    """`94.6 [90.6, 98.4] (trial 0012, one seed)`"""
    n_seeds = len(entry.trials)
    seeds = "one seed" if n_seeds == 1 else f"{n_seeds} seeds"
    return f"{format_value_of(entry)} (trial {entry.trial.id}, {seeds})"


def render(runs: Sequence[Run]) -> str:
    """A Markdown table."""
    rows: list[Sequence[str]] = [COLUMNS]
    for run in runs:
        start = "unknown" if run.start_s is None else f"{run.start_s:.0f}"
        later = run.efficiency_later(runs[0])
        cells = (
            *(run.name, str(run.gpus), str(run.trials), f"{run.seconds / 60:.1f}"),
            *(f"{run.trials_per_h:,.0f}", f"{run.turns:,}", f"{run.turns_a_gpu_s:,.0f}"),
            f"{run.efficiency(runs[0]):.2f}",
            *("unknown" if later is None else f"{later:.2f}", start, f"{run.tail_s:.0f}"),
            *(f"{run.slots_busy:.0%}", f"{run.slots_busy_last_quarter:.0%}", f"{run.busy:.0%}"),
            *(", ".join(map(str, run.evals_a_gpu)), str(run.engines), run.highest),
        )
        rows.append(cells)
    return to_markdown(rows)


def compare_runs(flags: argparse.Namespace) -> Outcome:
    folders = [find_sweep(name, flags.storage) for name in flags.names]
    runs = [summarise(read_sweep(folder)) for folder in folders]
    print(render(runs))
    return Outcome(facts={"runs": [asdict(run) for run in runs]})


def build_parser() -> Parser:
    parser = Parser("analysis.scaling", __doc__)
    add_names(parser, help="sweeps, or their folders")
    return parser


main = make_main(build_parser, compare_runs)

if __name__ == "__main__":
    start_command(main)
