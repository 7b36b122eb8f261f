"""What a sweep is: the flags, made whole and checked before anything starts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, get_type_hints

from trainable.declared import check_choice
from trainable.evaluation.objective import DIRECTIONS
from trainable.system.inside import is_below
from trainable.trial import ConfigError
from tune.search.flag import Flag

SWEEP, RACE = "the sweep", "the race"  # groups of flags
LIMITS, MACHINE = "limits", "where and how it runs"
ASHA = ("stop", "promote", "off")
IDLE = ("wait", "promote")
SAMPLERS = ("tpe", "gp", "random", "grid")
RUNG_METRICS = ("loss", "combined", "objective")  # combined: the objective, where it is Combined
limit = partial(Flag, group=LIMITS, low=0, resumable=True)


@dataclass(frozen=True, kw_only=True)
class SweepConfig:
    """A sweep's settings, whole. Raises ConfigError when one is out of its range."""

    name: Annotated[
        str, Flag("folder in --storage", SWEEP, metavar="NAME", auto="the space's, numbered")
    ]
    space: str  # a name under search_spaces, or a file
    profile: str  # tiny | colab | lab
    base: Mapping[str, Any]  # TrialConfig fields under the space's
    trials: Annotated[int, Flag("number of trials", SWEEP, low=1, resumable=True)]
    train_turns: Annotated[
        int, Flag("length of a trial's training, in system turns", SWEEP, low=1, resumable=True)
    ]
    rungs_turns: Annotated[
        tuple[int, ...],
        Flag(
            "the turns, ascending, at which trials are compared and weak ones stop",
            RACE,
            spelt="rungs",
            metavar="A,B",
            auto="an eighth, a quarter and a half of the training",
        ),
    ]
    eval_dialogues: Annotated[
        tuple[int, ...],
        Flag("validation dialogues at each rung and at the end", RACE, metavar="A,B,C"),
    ]
    eta: Annotated[float, Flag("the best 1/eta of the trials at a rung go on", RACE)] = 3
    asha: Annotated[
        str,
        Flag(
            "trials that are not among the best 1/eta: stop (they end at once, as in Ray Tune), "
            "promote (they wait, and go on once they are), or off (all are trained to the end)",
            RACE,
            choices=ASHA,
        ),
    ] = "stop"
    idle: Annotated[
        str,
        Flag(
            "with --asha promote: whether a worker without work promotes a waiting trial (promote; "
            "until then only the best 1/eta^2 go on), or waits (wait, the paper's ASHA)",
            RACE,
            choices=IDLE,
        ),
    ] = "wait"
    sampler: Annotated[
        str,
        Flag(
            "what proposes points: Optuna's tpe, its gp (a Gaussian process, which learns only "
            "from trials that reached the end), random, or grid (in random order)",
            SWEEP,
            choices=SAMPLERS,
        ),
    ] = "tpe"
    rung_metric: Annotated[
        str,
        Flag(
            "what a rung compares: loss (validation loss in nats per word, no replies generated), "
            "objective (as at the end; combined: the same, where that is Combined), or auto",
            RACE,
            choices=RUNG_METRICS,
            auto="the loss wherever all trials' losses are comparable",
        ),
    ] = "combined"
    objective: Annotated[
        str,
        Flag(
            "what finished trials are compared by: combined, loss, bleu, rouge, exact, slots, "
            "semantic, semantic:MODEL or python:FILE:FUNCTION (docs/corpus.md)",
            RACE,
            metavar="NAME",
            auto="combined where the corpus has goals, else bleu; loss for a corpus of chats",
            resumable=True,
        ),
    ] = "combined"
    direction: Annotated[
        str,
        Flag("which value of a Python objective is best", RACE, choices=DIRECTIONS, resumable=True),
    ] = "max"
    objective_sha256: str = ""  # of a Python objective's file
    seed: Annotated[int, Flag("seed of the proposals, and of every trial", SWEEP, low=0)] = 0
    seeds: Annotated[
        int, Flag("seeds of every point, which is stopped and ranked by their mean", SWEEP, low=1)
    ] = 1
    confirm: Annotated[
        int,
        Flag(
            "after the race train the best K points again, with fresh seeds and scored on all "
            "validation dialogues; the best of every choice first",
            RACE,
            low=0,
            metavar="K",
            auto="with the embedded model every choice's best, else a quarter of the sweep's turns",
            resumable=True,
        ),
    ] = 0
    calibrate: Annotated[
        float | None,
        Flag(
            "at the end also score every trial with this placeholder_bias (alone: 1), beside its "
            "own score",
            RACE,
            metavar="BIAS",
            bare=1.0,
            auto="not done",
        ),
    ] = None
    concurrent: Annotated[
        int,
        Flag("trials at a time; 0: as many as there is room for", MACHINE, low=0, resumable=True),
    ] = 0
    pack: Annotated[
        str,
        Flag(
            "trials that share one frozen base model on a device: auto, or a number; 1: none do",
            MACHINE,
            resumable=True,
        ),
    ] = "auto"
    baseline: Annotated[bool, Flag("do not score the untuned model", SWEEP)] = True
    max_failures: Annotated[int, limit("restarts of a trial that has lost its worker")] = 3
    max_failed_trials: Annotated[
        int, limit("end the sweep once more trials have failed; 0: a quarter of them, at least 5")
    ] = 0
    max_gpu_hours: Annotated[
        float, limit("pause the sweep after N GPU hours (or machine hours on CPUs); 0: no limit")
    ] = 0
    max_hours: Annotated[float, limit("pause the sweep after N hours of work; 0: no limit")] = 0
    parked_gib: Annotated[
        float,
        limit(
            "GiB of disk for the checkpoints of trials that wait at a rung; beyond it the lowest "
            "trial's is deleted, and it trains again should it be promoted"
        ),
    ] = 12
    stop_if_no_improvement: Annotated[
        int, limit("pause the sweep after N points in a row without a new best; 0: no limit")
    ] = 0
    report_to: Annotated[
        tuple[str, ...],
        Flag(
            "also send everything to these trackers: tensorboard, mlflow, wandb (offline), trackio",
            MACHINE,
            metavar="A,B",
            auto="none",
            resumable=True,
        ),
    ] = ()
    deterministic: Annotated[
        bool,
        Flag(
            "torch's deterministic kernels where there are any: slower, equal every time",
            MACHINE,
            resumable=True,
        ),
    ] = False
    trust_remote_code: bool = False  # runs the code that a base model's repository brings along
    storage: str = "runs"

    def __post_init__(self) -> None:
        self._check_flags()
        self._check_name()
        if self.eta <= 1:
            raise ConfigError(f"--eta must be above 1, not {self.eta}: the best 1/eta go on")
        rungs = (0, *self.rungs_turns, self.train_turns)
        if any(a >= b for a, b in pairwise(rungs)):
            raise ConfigError(
                f"--rungs must rise from above 0 to below --train-turns {self.train_turns}, "
                f"not {', '.join(map(str, self.rungs_turns))}"
            )
        if len(self.eval_dialogues) != len(self.rungs_turns) + 1 or min(self.eval_dialogues) < 1:
            raise ConfigError(
                f"--eval-dialogues needs a number from 1 for each of the {len(self.rungs_turns)} "
                f"rungs and one for the end, not {', '.join(map(str, self.eval_dialogues))}"
            )
        if self.pack != "auto" and not (self.pack.isdecimal() and int(self.pack) >= 1):
            raise ConfigError(f"--pack must be auto or a number from 1, not {self.pack!r}")

    def _check_flags(self) -> None:
        for name, flag in FLAGS.items():
            value, spelt = getattr(self, name), flag.spell(name)
            if flag.choices:
                check_choice(spelt, value, flag.choices)
            if flag.low is not None and not value >= flag.low:
                raise ConfigError(f"{spelt} must be at least {flag.low}, not {value}")

    def _check_name(self) -> None:
        is_plain = is_below(self.name) and "/" not in self.name
        if not is_plain or self.name.startswith("."):
            raise ConfigError(
                f"--name must be a plain folder name, not {self.name!r}: the folder that holds "
                "the sweeps is --storage"
            )

    @property
    def folder(self) -> Path:
        return Path(self.storage).absolute() / self.name

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SweepConfig:
        known = {f.name for f in fields(cls)}
        kept: dict[str, Any] = {
            n: tuple(v) if isinstance(v, list) else v for n, v in values.items() if n in known
        }
        return cls(**kept)


FLAGS: dict[str, Flag] = {  # field -> what it is on the command line
    name: annotation.__metadata__[0]
    for name, annotation in get_type_hints(SweepConfig, include_extras=True).items()
    if hasattr(annotation, "__metadata__")
}
KINDS: dict[str, Any] = get_type_hints(SweepConfig)
