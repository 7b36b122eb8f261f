"""Makes a pool of learning curves: python -m analysis.pool FOLDER SOURCE...

The sources are sweeps that were run with --asha off, and pools; of several the points are joined:
further seeds of a point, or its last weights, may come from sweeps of their own.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from analysis.curve_pool import COUNTS, HEADER, RUN, TABLES, Pool, is_pool, read_pool
from analysis.noise import read_counts
from analysis.records import SweepRecords, TrialRecord, find_milestone, find_sweep, read_sweep
from trainable.command.outcome import Outcome, carry_out
from trainable.command.parser import Parser
from trainable.system.whole import write_json, write_whole
from trainable.trial import ConfigError

MEASURED = (
    *("turns_seen", "steps", "train_s", "n_dialogues", "n_turns", "loss_nats", "nats_per_word"),
    *("nats_per_placeholder", "bleu", "inform", "success", "combined", "eval_s"),
)
PLACEHOLDERS = ("per_reply", "f1")
ALIKE = ("train_turns", "rungs_turns", "eval_dialogues", "objective")  # in the sources of a pool


def collect(name: str, sources: Sequence[SweepRecords | Pool]) -> Pool:
    """The trials of sweeps that reached their end, and those of other pools; the same point of
    another source is the same point. Raises ConfigError when a sweep has none, when the sources
    were not made alike, and when two of them have the same trial."""
    pools = [s if isinstance(s, Pool) else read_off(s) for s in sources]
    for pool in pools[1:]:
        check_alike(pools[0], pool)
    points = {spell(params): params for pool in pools for params in pool.params}
    tables = {
        table: pd.concat([renumber(p, table, [*points]) for p in pools], ignore_index=True)
        for table in TABLES
    }
    if tables["curves"].duplicated([*RUN, "rung"]).any():
        raise ConfigError("two of the sources have a trial of the same point, seed and weights")
    header = {**pools[0].header, "sources": [source for p in pools for source in list_sources(p)]}
    return Pool(name=name, header=header, params=tuple(points.values()), **tables)


def read_off(sweep: SweepRecords) -> Pool:
    """The trials of one sweep that reached their end. Raises ConfigError when there are none."""
    ended = [t for t in sweep.searched if t.state == "COMPLETE" and t.last]
    if not ended:
        raise ConfigError(f"no trial of {sweep.name} reached its end: run it with --asha off")
    points = {spell(t.params): dict(t.params) for t in ended}
    numbers = {text: number for number, text in enumerate(points)}
    runs = [(describe_run(t, numbers[spell(t.params)]), sweep, t) for t in ended]
    return Pool(
        name=sweep.name,
        header={
            **{"space": dict(sweep.space), "config": dict(sweep.config)},
            **{"versions": dict(sweep.versions), "commit": sweep.commit},
        },
        params=tuple(points.values()),
        curves=pd.DataFrame([row for run in runs for row in list_evals(*run)]),
        dialogues=pd.concat([list_dialogues(*run) for run in runs], ignore_index=True),
    )


def spell(params: Mapping[str, Any]) -> str:
    return json.dumps(dict(params), sort_keys=True)


def describe_run(trial: TrialRecord, point: int) -> dict[str, Any]:
    weights = "average" if trial.config.get("averaging") else "last"
    return {"point": point, "seed": trial.config["seed"], "weights": weights}


def list_evals(
    run: Mapping[str, Any], sweep: SweepRecords, trial: TrialRecord
) -> list[dict[str, Any]]:
    return [
        {
            **run,
            "rung": find_milestone(sweep.milestones_turns, e.turns_seen),
            **{name: getattr(e, name) for name in MEASURED},
            **{f"placeholders_{n}": (e.placeholders or {}).get(n) for n in PLACEHOLDERS},
        }
        for e in trial.evals
    ]


def list_dialogues(run: Mapping[str, Any], sweep: SweepRecords, trial: TrialRecord) -> pd.DataFrame:
    counts = read_counts(sweep.folder, trial.id)
    if counts is None:
        raise ConfigError(f"{sweep.folder} has no counts of trial {trial.id}'s dialogues")
    rows = pd.DataFrame(counts.counts.astype(np.int32), columns=COUNTS)
    return rows.assign(dialogue=counts.ids, **run)


def check_alike(one: Pool, other: Pool) -> None:
    """Raises ConfigError unless a point means the same in both, trained and validated alike."""
    made, otherwise = describe_making(one), describe_making(other)
    for name in sorted(made.keys() & otherwise.keys()):
        if made[name] != otherwise[name]:
            raise ConfigError(
                f"{other.name} was not made as {one.name} was ({name}: {otherwise[name]}, there "
                f"{made[name]}): pack it into a folder of its own"
            )


def describe_making(pool: Pool) -> dict[str, Any]:
    """What the trials of a pool have in common, wherever its model and corpus lay."""
    config, space = pool.header["config"], pool.header["space"]
    fields = {**config["base"], **space["fixed"], **{name: config[name] for name in ALIKE}}
    fields |= {name: Path(fields[name]).name for name in ("base_model", "corpus")}
    own = ("seed", "averaging", *space["searched"])
    return {n: v for n, v in fields.items() if n not in own} | {"searched": space["searched"]}


def list_sources(pool: Pool) -> list[dict[str, Any]]:
    """The sweeps that a pool was made of."""
    own = {"name": pool.name, "commit": pool.header["commit"]}
    return list(pool.header.get("sources", [own]))


def renumber(pool: Pool, table: str, points: Sequence[str]) -> pd.DataFrame:
    """A table of the pool with the numbers that its points have among those."""
    rows: pd.DataFrame = getattr(pool, table)
    numbers = np.array([points.index(spell(params)) for params in pool.params])
    return rows.assign(point=numbers[rows.point])


def write_pool(pool: Pool, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / HEADER, {**pool.header, "points": pool.params})
    for name in TABLES:
        table: pd.DataFrame = getattr(pool, name)
        write_whole(folder / f"{name}.parquet", table.to_parquet(None, compression="zstd"))


def main(arguments: Sequence[str] | None = None) -> int:
    parser = Parser("analysis.pool", __doc__)
    parser.add_argument("folder", type=Path, help="where the pool's files are written")
    parser.add_argument(
        "sources", nargs="+", metavar="SOURCE", help="sweeps (names under runs/) or folders"
    )
    return carry_out(parser, make_pool, arguments)


def make_pool(flags: Any) -> Outcome:
    names = [Path(name) for name in flags.sources]
    sources = [read_pool(n) if is_pool(n) else read_sweep(find_sweep(str(n))) for n in names]
    pool = collect(flags.folder.name, sources)
    write_pool(pool, flags.folder)
    n_trials = len(pool.curves.drop_duplicates(RUN))
    print(f"{flags.folder}: {len(pool.params)} points, {n_trials} trials")
    return Outcome(facts={"points": len(pool.params), "trials": n_trials})


if __name__ == "__main__":
    sys.exit(main())
