"""The same sweep on more and more GPUs, held against the first named:
`python -m analysis.scaling NAME NAME ...`
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from analysis.curves import gpu_of, trained_turns
from analysis.machines import all_evals, share_time, worked_until
from analysis.ranking import Entry, find_best
from analysis.records import SweepRecords, find_sweep, read_sweep
from analysis.rows import format_value_of
from trainable.command.flags import add_names
from trainable.command.outcome import Outcome, make_main, start_command
from trainable.command.parser import Parser
from trainable.trial import ConfigError

COLUMNS = (
    *("sweep", "GPUs", "trials", "minutes", "trials/hour", "efficiency"),
    *("turns trained", "turns/s on each GPU", "busy"),
    *("evaluations on each GPU", "engines", "highest score"),
)


@dataclass(frozen=True, kw_only=True)
class Run:
    """One sweep as a piece of work."""

    name: str
    gpus: int
    trials: int  # that have ended
    seconds: float  # from its start to its last evaluation, pauses left out
    turns: int  # that all trials together trained on; pruning decides how many
    busy: float  # share of the GPUs' time in training and validation, 0..1
    evals_a_gpu: tuple[int, ...]
    engines: int  # processes that held the model; more than GPUs where one was healed
    highest: str  # Combined with its interval, what that holds, and the trial

    @property
    def trials_per_h(self) -> float:
        return 3600 * self.trials / self.seconds

    @property
    def turns_a_gpu_s(self) -> float:
        """Turns trained in a second on each GPU: comparable where the sweeps' work is not."""
        return self.turns / (self.seconds * self.gpus)

    def efficiency(self, reference: Run) -> float:
        """1 where the time shrinks as the GPUs grow."""
        return reference.seconds * reference.gpus / (self.seconds * self.gpus)


def summarise(sweep: SweepRecords) -> Run:
    """Raises ConfigError where nothing was evaluated."""
    evals = all_evals(sweep)
    first = find_best(sweep)
    if first is None or first.value is None:
        raise ConfigError(f"{sweep.name} has no evaluation of a trial yet: let it run")
    evals_a_gpu = Counter(map(gpu_of, evals))
    idle = share_time(sweep)["starting, waiting, idle"]
    return Run(
        name=sweep.name,
        gpus=len(evals_a_gpu),
        trials=sum(t.state != "RUNNING" for t in sweep.searched),
        seconds=worked_until(sweep, max(e.time_s for e in evals)),
        turns=round(trained_turns(sweep.searched)),
        busy=1 - idle,
        evals_a_gpu=tuple(sorted(evals_a_gpu.values())),
        engines=len({e.place.get("engine_pid") or e.place.get("pid") for e in evals}),
        highest=describe_score(first),
    )


def describe_score(entry: Entry) -> str:
    """`94.6 [90.6, 98.4] (trial 0012, one seed)`"""
    n_seeds = len(entry.trials)
    seeds = "one seed" if n_seeds == 1 else f"{n_seeds} seeds"
    return f"{format_value_of(entry)} (trial {entry.trial.id}, {seeds})"


def render(runs: Sequence[Run]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|---" * len(COLUMNS) + "|"]
    for run in runs:
        cells = (
            *(run.name, str(run.gpus), str(run.trials), f"{run.seconds / 60:.1f}"),
            *(f"{run.trials_per_h:.0f}", f"{run.efficiency(runs[0]):.2f}"),
            *(f"{run.turns:,}", f"{run.turns_a_gpu_s:,.0f}"),
            *(f"{100 * run.busy:.0f} %", ", ".join(map(str, run.evals_a_gpu))),
            *(str(run.engines), run.highest),
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


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
