"""ASHA against random search without training anything: python -m tune.simulate

Replays learning curves (the toy's formula, or those that a sweep with --asha off has recorded)
through the real search on a virtual clock, on any number of GPUs, alone or packed. Prints one row
for each method and machine: means over the seeds with 95 % intervals.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from trainable.command.outcome import Outcome, make_main
from trainable.command.parser import Parser
from trainable.trial import ConfigError

if TYPE_CHECKING:
    from tune.simulate.curves import Curves

FORMULA = "toy"
POINTS = {"all": slice(None), "even": slice(0, None, 2), "odd": slice(1, None, 2)}
Row = dict[str, str | int | float]
COLUMNS = {  # field of Outcome or Beside -> (heading, digits)
    "makespan_h": ("makespan, h", 3),
    "gpu_h": ("GPU-hours", 3),
    "training": ("training spent", 1),
    "busy": ("slots busy", 2),
    "completed": ("completed", 1),
    "regret": ("regret", 2),
    "random_regret": ("random's regret for that training", 2),
    "more_regret": ("regret above that of all run out", 2),
    "clock": ("time, of that", 2),
    "slower": ("slower, %", 1),
}


def compare_methods(flags: argparse.Namespace) -> Outcome:
    check_methods(flags.methods, has_all_points=flags.surrogate or flags.curves == FORMULA)
    curves = open_curves(flags)
    if flags.surrogate:
        tell_held_out(curves)
    rows = []
    for row in simulate_all(curves, flags):
        rows.append(row)
        print(f"{row['method']} on {row['slots']} slots: done", file=sys.stderr, flush=True)
    print(render(rows))
    if flags.out:
        write(flags.out, rows)
    return Outcome(facts={"rows": rows})


def open_curves(flags: argparse.Namespace) -> Curves:
    from tune.search.profiles import fit_evals
    from tune.simulate.curves import Formula

    is_formula = flags.curves == FORMULA
    curves = Formula() if is_formula else open_recorded(flags.curves, flags.points, flags.surrogate)
    config = curves.config
    given = {"trials": flags.trials, "eta": flags.eta, "rungs_turns": flags.rungs}
    given["rung_metric"] = flags.rung_metric
    changes = {name: value for name, value in given.items() if value is not None}
    if flags.rungs:
        if not is_formula:
            check_recorded(flags.rungs, config.rungs_turns)
        changes["eval_dialogues"] = fit_evals(config.eval_dialogues, len(flags.rungs))
    curves.config = replace(config, **changes)
    curves.draw(0, curves.config.trials)
    return curves


def open_recorded(name: str, points: slice, is_surrogate: bool) -> Curves:
    from analysis.curve_pool import is_pool, read_pool
    from analysis.records import find_sweep, read_sweep
    from tune.simulate.recorded import open_pool, open_sweep
    from tune.simulate.surrogate import Surrogate

    if is_surrogate:
        return Surrogate(read_pool(Path(name)))
    if not is_pool(Path(name)):
        return open_sweep(read_sweep(find_sweep(name)))
    pool = read_pool(Path(name))
    return open_pool(pool, range(len(pool.params))[points])


def check_recorded(rungs: Sequence[int], recorded: Sequence[int]) -> None:
    if set(rungs) - set(recorded):
        raise ConfigError(
            f"--rungs must be among those that the curves were recorded at, "
            f"{', '.join(map(str, recorded))}, not {', '.join(map(str, rungs))}"
        )


def check_methods(methods: Iterable[str], *, has_all_points: bool) -> None:
    from tune.search.proposals import LEARNING
    from tune.simulate.outcome import METHODS

    for method in methods:
        if method not in METHODS:
            raise ConfigError(f"--methods takes {', '.join(METHODS)}, not {method!r}")
        if METHODS[method].sampler in LEARNING and not has_all_points:
            raise ConfigError(
                f"{method} proposes points of its own, and only those recorded have curves: "
                f"leave it out of --methods, take --curves {FORMULA}, or --surrogate with a pool"
            )


def tell_held_out(curves: Curves) -> None:
    from tune.simulate.surrogate import Surrogate

    assert isinstance(curves, Surrogate)
    for name, held in curves.cross_validate().items():
        print(
            f"{name} of points held out: error {held.error:.3g}, spread {held.spread:.3g}, "
            f"rank correlation {held.rank_correlation:.2f}"
        )


def simulate_all(curves: Curves, flags: argparse.Namespace) -> Iterator[Row]:
    from tune.simulate.outcome import RUN_OUT, compare_with, repeat, summarise

    for slots, pack in itertools.product(flags.slots, flags.pack):
        if slots % pack:
            continue
        machine = (slots // pack, pack)
        run_out = repeat(curves, RUN_OUT, machine, flags.seeds)
        for method in flags.methods:
            is_same = method == RUN_OUT
            outcomes = run_out if is_same else repeat(curves, method, machine, flags.seeds)
            row: Row = {"method": method, "slots": slots, "gpus": machine[0]}
            beside = list(map(compare_with, outcomes, run_out))
            for name, (mean, low, high) in {**summarise(outcomes), **summarise(beside)}.items():
                row |= {name: mean, f"{name}_low": low, f"{name}_high": high}
            yield row


def render(rows: Sequence[Row]) -> str:
    """A Markdown table: mean [95 % interval]."""
    lines = ["| search | slots | GPUs |" + "".join(f" {h} |" for h, _ in COLUMNS.values())]
    lines.append("|---|--:|--:|" + "--:|" * len(COLUMNS))
    for row in rows:
        cells = [f"{row['method']}", f"{row['slots']}", f"{row['gpus']}"]
        for name, (_, digits) in COLUMNS.items():
            mean, low, high = (f"{row[f'{name}{end}']:.{digits}f}" for end in ("", "_low", "_high"))
            cells.append(mean if low == high else f"{mean} [{low}, {high}]")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def write(stem: Path, rows: Sequence[Row]) -> None:
    """STEM.md and STEM.csv."""
    import pandas as pd

    stem.parent.mkdir(parents=True, exist_ok=True)
    stem.with_suffix(".md").write_text(render(rows) + "\n", encoding="utf-8")
    pd.DataFrame(rows).to_csv(stem.with_suffix(".csv"), index=False, float_format="%.6g")


def parse_counts(text: str) -> tuple[int, ...]:
    numbers = tuple(int(part) for part in text.split(","))
    if min(numbers) < 1:
        raise argparse.ArgumentTypeError(f"takes whole numbers from 1 (1,8,64), not {text!r}")
    return numbers


def parse_count(text: str) -> int:
    (number,) = parse_counts(text)
    return number


def parse_points(text: str) -> slice:
    first, dash, last = text.partition("-")
    if text in POINTS:
        return POINTS[text]
    if not (dash and first.isdecimal() and last.isdecimal()) or int(first) > int(last):
        raise argparse.ArgumentTypeError(f"takes {', '.join(POINTS)}, or A-B (0-31), not {text!r}")
    return slice(int(first), int(last) + 1)


def parse_names(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


def build_parser() -> Parser:
    parser = Parser("tune.simulate", __doc__)
    parser.add_argument(
        "--curves",
        default=FORMULA,
        metavar="SWEEP",
        help="the learning curves to replay: a sweep (a name under runs/, or a folder), the folder "
        "of a pool (analysis.pool: the search sees one seed on half of the dialogues, and what it "
        "picks is scored by all seeds on the other half), or toy (a formula)",
    )
    parser.add_argument(
        "--points",
        type=parse_points,
        default="all",
        metavar="even|odd|A-B",
        help="use these points of a pool, by number",
    )
    parser.add_argument(
        "--surrogate",
        action="store_true",
        help="predict the curves of points that the pool lacks, for methods that propose their own",
    )
    parser.add_argument("--trials", type=parse_count, help="trials of a simulated sweep")
    parser.add_argument(
        "--rungs", type=parse_counts, metavar="A,B", help="turns at which trials are compared"
    )
    parser.add_argument("--eta", type=float, help="the best 1/eta of the trials at a rung go on")
    parser.add_argument(
        "--rung-metric",
        metavar="NAME",
        help="what a rung compares, loss or combined (default: as the curves were recorded)",
    )
    parser.add_argument(
        "--slots",
        type=parse_counts,
        default=(1, 8, 16, 64, 1000),
        metavar="A,B,C",
        help="trials that run at a time, a row of the table for each number",
    )
    parser.add_argument(
        "--pack", type=parse_counts, default=(1,), metavar="A,B", help="trials that share a GPU"
    )
    parser.add_argument(
        "--methods",
        type=parse_names,
        default=("random", "stop", "promote"),
        metavar="A,B",
        help="search methods to compare",
    )
    parser.add_argument("--seeds", type=parse_count, default=20, help="simulated sweeps a row")
    parser.add_argument(
        "--out", type=Path, metavar="STEM", help="also write the table as STEM.md and STEM.csv"
    )
    return parser


main = make_main(build_parser, compare_methods)
