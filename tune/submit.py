"""Writes a sweep's answer as one checked record, to be sent in by a pull request:
python -m tune.submit NAME

In it: the GPU's model, versions, iterations a second, the winner's configuration, its scores with
their intervals. Not in it: any text, path, or name of a person, a machine or a sweep.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainable.command.flags import add_name
from trainable.command.outcome import Outcome, make_main, start_command
from trainable.command.parser import Parser
from trainable.trial import ConfigError
from tune.folder.find import open_folder

if TYPE_CHECKING:
    from analysis.ranking import Entry
    from analysis.records import EvalRecord, SweepRecords

OUT = Path("analysis/submitted")
PACKAGES = ("python", "torch", "transformers", "peft", "bitsandbytes", "ray", "optuna")
CORPORA = ("cambridge", "multiwoz", "sgd", "spokenwoz")  # of everybody's; any other is one's own


def build_parser() -> Parser:
    parser = Parser("tune.submit", __doc__)
    add_name(parser)
    parser.add_argument(
        "--out", type=Path, default=OUT, metavar="FOLDER", help="write the record here"
    )
    return parser


def submit(flags: argparse.Namespace) -> Outcome:
    """Raises ConfigError where nothing has a score, or something is no part of a record."""
    from analysis.records import read_sweep
    from analysis.submission import check_submission
    from trainable.system.whole import write_whole

    record = compose(read_sweep(open_folder(flags, "tune.submit")))
    check_submission(record)
    text = json.dumps(record, indent=1, sort_keys=True) + "\n"
    place = flags.out / name_file(record, text)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        write_whole(place, text.encode())
    except OSError as error:
        raise ConfigError(f"--out must be a folder that can be written: {error}") from error
    print(text, end="")
    print(f"written: {place}; to send it in, add that file in a pull request", file=sys.stderr)
    return Outcome(facts={"file": place, "record": record})


def name_file(record: dict[str, Any], text: str) -> str:
    gpu = re.sub(r"[^a-z0-9]+", "-", record["machine"]["gpu"].lower()).strip("-")
    digest = hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"{record['search']['space']}-{gpu}-{digest}.json"


def compose(records: SweepRecords) -> dict[str, Any]:
    """Of the first in rank."""
    from analysis.machines import all_evals, count_gpus
    from analysis.ranking import find_best
    from analysis.submission import FORMAT

    best = find_best(records)
    if best is None or best.value is None or best.trial.resolved is None:
        raise ConfigError(f"sweep {records.name} has no trial with a score yet")
    evals = all_evals(records)
    device = best.trial.resolved.device
    hours = (max(e.time_s for e in evals) - records.created_s) / 3600
    return {
        "format": FORMAT,
        "machine": {"gpu": device, "gpus": 0 if device == "cpu" else count_gpus(records)},
        "versions": {n: records.versions[n] for n in PACKAGES if n in records.versions},
        "speed": measure_speed(best.evals),
        "search": {
            "space": spell_space(records),
            "profile": records.config.get("profile", "tiny"),
            "trials": len(records.searched),
            "seeds": len(best.trials),
            "hours": round(hours, 3),
        },
        "config": spell_config(dict(best.trial.config)) | {"compute": compute_of(best)},
        "scores": spell_scores(best),
        "intervals": spell_intervals(best),
    }


def spell_space(records: SweepRecords) -> str:
    """Its name where it comes with the package."""
    from search_spaces.find import list_spaces

    name = str(records.space["name"])
    return name if name in list_spaces() else "own"


def spell_config(config: dict[str, Any]) -> dict[str, Any]:
    """Without what a submission leaves out, one's own model and corpus as no more than that."""
    from analysis.submission import HUB_ID, LEFT_OUT, OWN

    kept = {name: value for name, value in config.items() if name not in LEFT_OUT}
    base, corpus = str(kept["base_model"]), str(kept["corpus"])
    if not HUB_ID.fullmatch(base) or Path(base).exists():
        kept["base_model"] = OWN
    kept["corpus"] = corpus if corpus in CORPORA else OWN
    return kept


def compute_of(best: Entry) -> str:
    """What it computed in, where that was recorded."""
    resolved = best.trial.resolved
    return (resolved.compute if resolved else "") or "auto"


def measure_speed(evals: Sequence[EvalRecord]) -> dict[str, float | None]:
    """Iterations a second of a trial's own time: optimizer steps, and replies."""
    train_s, steps = sum(e.train_s for e in evals), sum(e.steps for e in evals)
    tokens = sum(e.tokens_per_s * e.train_s for e in evals)
    reply_s, replies = sum(e.generate_s or 0.0 for e in evals), sum(e.n_turns for e in evals)
    return {
        "train_steps_per_s": round(steps / train_s, 4) if train_s else None,
        "train_tokens_per_s": round(tokens / train_s, 1) if train_s else None,
        "replies_per_s": round(replies / reply_s, 3) if reply_s else None,
        "peak_gib": round(max(e.peak_gib for e in evals), 2),
    }


def spell_scores(best: Entry) -> dict[str, Any]:
    """Means over its seeds."""
    last = best.evals[0]
    names = ("bleu", "inform", "success", "combined", "loss_nats", "nats_per_word")
    means = {name: best.mean(name) for name in names}
    rounded = {n: None if value is None else round(value, 4) for n, value in means.items()}
    return {
        **rounded,
        **{"turns_seen": last.turns_seen, "n_dialogues": last.n_dialogues},
        **{"split": last.split, "states": last.states},
    }


def spell_intervals(best: Entry) -> dict[str, list[float]]:
    """95 %: of Combined, with the noise of seeds where there are several; of a single seed's other
    scores too."""
    found = {}
    if len(best.evals) == 1:
        found = {n: [round(b, 4) for b in pair] for n, pair in best.evals[0].intervals.items()}
    if best.combined_interval is not None and best.objective == "combined":
        found["combined"] = [round(bound, 4) for bound in best.combined_interval]
    return found


main = make_main(build_parser, submit)

if __name__ == "__main__":
    start_command(main)
