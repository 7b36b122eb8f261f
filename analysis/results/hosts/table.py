"""What `run.sh` has made so far in runs/, as tables: table.py [FOLDER]

Of each kind of sweep: its runs side by side (python -m analysis.scaling); of those that train the
same points, the simulator's prediction out of the run on the fewest GPUs, and whether each trial
came to the same.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from replay import Work, replay

from analysis.machines import count_room, is_packed, sum_reply_s
from analysis.records import SweepRecords, TrialRecord, read_sweep
from analysis.scaling import Run, render, summarise

GPUS = (1, 2, 4, 8)
KINDS = ("fixed", "kill", "search", "seven")
SAME_POINTS = KINDS[:2]


def tell_kind(folder: Path, kind: str) -> Iterator[str]:
    sweeps = read_kind(folder, kind)
    yield f"## {kind}" if sweeps else f"## {kind}: not run"
    if sweeps:
        runs = [summarise(sweep) for sweep in sweeps]
        yield from ("", render(runs))
        if kind == SAME_POINTS[0]:
            yield from ("", *foretell(sweeps[0], runs))
        if kind == "search":
            fixed = [summarise(sweep) for sweep in read_kind(folder, SAME_POINTS[0])]
            yield from ("", *split_losses(runs, fixed))
        if kind in SAME_POINTS:
            yield ""
            first = (read_kind(folder, SAME_POINTS[0]) or sweeps)[0]
            others = (s for s in sweeps if s.folder != first.folder)
            yield from (f"- {hold_beside(first, other)}" for other in others)
    yield ""


def read_kind(folder: Path, kind: str) -> list[SweepRecords]:
    """The sweeps of that kind with a result."""
    folders = [folder / f"{kind}-{gpus}" for gpus in GPUS]
    sweeps = [read_sweep(f) for f in folders if (f / "sweep.json").is_file()]
    return [sweep for sweep in sweeps if any(t.evals for t in sweep.searched)]


def foretell(sweep: SweepRecords, runs: Sequence[Run]) -> Iterator[str]:
    """`sweep`: the first of the runs."""
    yield "| GPUs | predicted minutes | predicted efficiency | measured minutes | of predicted |"
    yield "|---" * 5 + "|"
    first, measured = runs[0], {run.gpus: run for run in runs}
    predicted = {gpus: predict(sweep, first, gpus) for gpus in (first.gpus, *GPUS)}
    for gpus in GPUS:
        seconds, run = predicted[gpus], measured.get(gpus)
        efficiency = predicted[first.gpus] * first.gpus / (seconds * gpus)
        row = f"| {gpus} | {seconds / 60:.1f} | {efficiency:.2f} | "
        yield row + (
            f"{run.seconds / 60:.1f} | {run.seconds / seconds:.2f} |" if run else "- | - |"
        )


def split_losses(searches: Sequence[Run], fixed: Sequence[Run]) -> Iterator[str]:
    """What a search loses by turns trained, told apart by the same points on as many GPUs."""
    machine = {run.gpus: run.efficiency(fixed[0]) for run in fixed}
    for run in searches:
        if run.gpus in machine:
            whole, part = run.efficiency(searches[0]), machine[run.gpus]
            yield (
                f"- {run.name}: efficiency {whole:.2f} = {part:.2f}, the machine's (the same "
                f"points) x {whole / part:.2f}, the search's own (other points)"
            )


def predict(sweep: SweepRecords, run: Run, gpus: int) -> float:
    """Seconds that the run would take on so many GPUs: its start-up and the recordings of passes,
    which every engine makes for itself, as they were; then the simulator's."""
    trials = sorted((t for t in sweep.searched if t.evals), key=find_start)
    works = [measure_work(trial) for trial in trials]
    slots = count_room(sweep) // run.gpus
    recording_s = sum(t.evals[-1].recording_s for t in trials) / run.gpus
    own_s = (run.start_s or 0.0) + recording_s
    return own_s + replay(works, gpus, slots, shares_passes=is_packed(sweep))


def find_start(trial: TrialRecord) -> float:
    return trial.evals[0].started_s


def measure_work(trial: TrialRecord) -> Work:
    last = trial.evals[-1]
    seconds = last.train_s - last.recording_s + sum_reply_s(trial.evals)
    return Work(trial=trial.id, turns=last.turns_seen, seconds=seconds)


def hold_beside(first: SweepRecords, other: SweepRecords) -> str:
    """Whether each trial came to the same."""
    one, two = collect_losses(first), collect_losses(other)
    shared = one.keys() & two.keys()
    differences = [abs(one[place] - two[place]) for place in shared]
    return (
        f"{other.name} beside {first.name}: {len(shared)} of {len(one)} evaluations (trial, point, "
        f"turns) in both, the loss of {differences.count(0.0)} the same to the last bit, the "
        f"largest difference {max(differences, default=0.0):.2g} nats a word"
    )


def collect_losses(sweep: SweepRecords) -> dict[tuple[str, str, int], float]:
    """(trial, point, turns) -> nats a word."""
    return {
        (t.id, str(sorted(t.params.items())), e.turns_seen): e.nats_per_word
        for t in sweep.searched
        for e in t.evals
        if e.nats_per_word is not None
    }


if __name__ == "__main__":
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "runs")
    for kind in KINDS:
        print(*tell_kind(folder, kind), sep="\n")
