"""One trial: what decides its outcome. What it yields: `trainable.result`.

Standard library only: the search, the spaces and the analysis import this without torch or Ray.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from difflib import get_close_matches
from typing import Any, NamedTuple, Self

CHOICES: dict[str, tuple[str, ...]] = {
    "initialisation": ("pretrained", "random"),
    "quantisation": ("nf4", "fp4", "int8", "bf16", "fp32"),
    "method": ("lora", "full", "none"),
    "schedule": ("constant", "linear", "cosine", "wsd"),
    "format": ("dialogues", "turns"),
    "layout": ("lines", "chat"),
    "context": ("history", "history+state", "history+state+db"),
    "response": ("delexicalised", "lexicalised"),
    "target": ("response", "state+response"),
    "decoding": ("greedy", "sampling", "beam", "contrastive"),
}
# field -> (lowest, highest) value allowed, both included
RANGES: dict[str, tuple[float, float]] = {
    "lora_rank": (1, 1024),
    "alpha_over_rank": (1e-3, 1e3),
    "lora_dropout": (0.0, 0.9),
    "learning_rate": (1e-8, 10.0),
    "warmup_turns": (0, 10**9),
    "decay_fraction": (0.0, 1.0),
    "batch_turns": (1, 10**6),
    "train_turns": (0, 10**9),
    "weight_decay": (0.0, 1.0),
    "clip_norm": (1e-6, 1e6),
    "averaging": (0.0, 1.0),
    "max_length_tokens": (16, 10**6),
    "max_new_tokens": (1, 4096),
    "min_new_tokens": (0, 4096),
    "placeholder_bias": (-100.0, 100.0),
    "repetition_penalty": (0.1, 10.0),
    "no_repeat_ngram_size": (0, 100),
    "temperature": (1e-3, 100.0),
    "top_k": (1, 10**6),
    "top_p": (1e-6, 1.0),
    "typical_p": (1e-6, 1.0),
    "num_beams": (2, 64),
    "length_penalty": (-10.0, 10.0),
    "penalty_alpha": (0.0, 1.0),
    "seed": (0, 2**31 - 1),
}
# (field that decides, its values, fields that exist only then): absent fields are None
CONDITIONS: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("quantisation", ("nf4", "fp4"), ("double_quantisation",)),
    (
        "method",
        ("lora",),
        ("lora_rank", "alpha_over_rank", "rslora", "lora_modules", "lora_dropout"),
    ),
    (
        "method",
        ("lora", "full"),
        (
            *("learning_rate", "schedule", "warmup_turns", "batch_turns"),
            *("weight_decay", "clip_norm", "averaging"),
        ),
    ),
    ("schedule", ("wsd",), ("decay_fraction",)),
    ("decoding", ("sampling",), ("temperature", "top_p", "typical_p")),
    ("decoding", ("sampling", "contrastive"), ("top_k",)),
    ("decoding", ("beam",), ("num_beams", "length_penalty")),
    ("decoding", ("contrastive",), ("penalty_alpha",)),
    ("response", ("delexicalised",), ("placeholder_bias",)),
)
# type of a field -> what a value of it must be, in code and in words
KINDS: dict[str, tuple[tuple[type, ...], str]] = {
    "str": ((str,), "a text"),
    "bool": ((bool,), "true or false"),
    "int": ((int,), "a whole number"),
    "float": ((int, float), "a number"),
}
# A condition's field that may still be left out (None) where it has a meaning.
OPTIONAL = frozenset(
    {"temperature", "top_k", "top_p", "typical_p", "length_penalty", "placeholder_bias"}
    | {"averaging"}
)


# what decides which base model a trial stands on
BASE_FIELDS = ("base_model", "initialisation", "quantisation", "double_quantisation")


class ConfigError(ValueError):
    """Bad input, in one line: the rule, the value, the flag, the remedy. Commands exit with 2."""


class Missing(ConfigError):
    """A base model or corpus that cannot be read on this machine: another may have it."""


class CannotPack(ConfigError):
    """What the packed engine does not compute as transformers does: why, in a few words."""


class TrialFailed(RuntimeError):
    """A trial that cannot go on (a loss that is not finite, no memory): its reason, in one line."""


@dataclass(frozen=True, kw_only=True)
class TrialConfig:
    """Everything that decides the outcome of one run, and nothing else. A field without a meaning
    under the others' values is None (`CONDITIONS`). Raises ConfigError when a field is wrong."""

    # the model
    base_model: str = "tiny"  # "tiny" (embedded), "toy" (a formula), a hub id or a folder
    initialisation: str = "pretrained"
    quantisation: str = "nf4"
    double_quantisation: bool | None = None
    method: str = "lora"
    adapter: str | None = None  # folder of an adapter to start from (or only to decode with)
    # LoRA
    lora_rank: int | None = None
    alpha_over_rank: float | None = None
    rslora: bool | None = None  # scale alpha/sqrt(rank) in place of alpha/rank
    lora_modules: str | None = None  # all-linear | attention | ffn | qv | regexp:<pattern>
    lora_dropout: float | None = None
    # training; the unit of all lengths is the system turn
    learning_rate: float | None = None
    schedule: str | None = None
    warmup_turns: int | None = None
    decay_fraction: float | None = None  # wsd: the share of the way to a milestone that decays
    batch_turns: int | None = None  # a step takes whole dialogues until it holds this many turns
    train_turns: int = 0
    weight_decay: float | None = None
    clip_norm: float | None = None
    # the share of the steps so far whose mean of weights is scored, saved and exported; 0 or None:
    # the last step's weights alone
    averaging: float | None = None
    # the task
    corpus: str = "cambridge"  # "cambridge" (embedded), "multiwoz", a folder or a dataset id
    format: str = "dialogues"  # one sequence a dialogue, or one a turn with its history
    layout: str = "lines"  # `user>` and `bot>` lines, or the base model's own chat template
    context: str = "history"
    response: str = "delexicalised"
    target: str = "response"
    instruction: str | None = None  # a line in front of every sequence
    max_length_tokens: int = 1024
    # decoding
    decoding: str = "greedy"
    max_new_tokens: int = 80
    min_new_tokens: int = 0
    placeholder_bias: float | None = None  # added to the scores of what opens one: more are given
    repetition_penalty: float = 1.0
    no_repeat_ngram_size: int = 0
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    typical_p: float | None = None
    num_beams: int | None = None
    length_penalty: float | None = None
    penalty_alpha: float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for f in fields(self):
            check_kind(f.name, getattr(self, f.name), str(f.type))
        for name, allowed in CHOICES.items():
            check_choice(name, getattr(self, name), allowed)
        for name, (low, high) in RANGES.items():
            check_range(name, getattr(self, name), low, high)
        for decider, values, dependants in CONDITIONS:
            self._check_condition(decider, values, dependants)
        if self.decoding == "contrastive" and self.top_k is None:
            raise ConfigError("contrastive search needs top_k: give it with --set top_k=4, say")
        if self.min_new_tokens > self.max_new_tokens:
            raise ConfigError(
                f"min_new_tokens={self.min_new_tokens} is above max_new_tokens="
                f"{self.max_new_tokens}: no reply can be both (--set max_new_tokens=)"
            )
        if self.layout == "chat" and self.target != "response":
            raise ConfigError(
                f"target={self.target} has no place in a chat: give --set target=response, or "
                "--set layout=lines"
            )

    def _check_condition(
        self, decider: str, values: tuple[str, ...], dependants: tuple[str, ...]
    ) -> None:
        applies = getattr(self, decider) in values
        for name in dependants:
            value = getattr(self, name)
            if applies and value is None and name not in OPTIONAL:
                raise ConfigError(
                    f"{name} is needed with {decider}={getattr(self, decider)}: "
                    f"give it with --set {name}=VALUE"
                )
            if not applies and value is not None:
                raise ConfigError(
                    f"{name}={value} has no meaning with {decider}={getattr(self, decider)} "
                    f"(only with {' or '.join(values)}): leave it out"
                )

    @property
    def lora_scale(self) -> float:
        """alpha/rank, or alpha/sqrt(rank) with rank-stabilised LoRA (arXiv 2312.03732)."""
        assert self.lora_rank is not None and self.alpha_over_rank is not None
        alpha = self.alpha_over_rank * self.lora_rank
        return alpha / self.lora_rank**0.5 if self.rslora else self.alpha_over_rank

    def to_dict(self) -> dict[str, Any]:
        """The fields that have a meaning, JSON-ready: `TrialConfig.from_dict` reads them back."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The config those fields spell. Raises ConfigError on a field that does not exist."""
        known = {f.name for f in fields(cls)}
        for name in values:
            if name not in known:
                raise ConfigError(
                    f"no field is called {name!r}{nearest(name, known)}: --set takes one of "
                    f"{', '.join(sorted(known))}"
                )
        return cls(**values)


def check_kind(name: str, value: object, annotation: str) -> None:
    """Against the field's annotation: `int`, `int | None`."""
    kind, _, optional = annotation.partition(" | ")
    if value is None and optional:
        return
    types, words = KINDS[kind]
    if not isinstance(value, types) or (isinstance(value, bool) and kind != "bool"):
        raise ConfigError(f"{name} must be {words}, not {value!r} (--set {name}=)")


def check_choice(name: str, value: str | None, allowed: tuple[str, ...]) -> None:
    if value is not None and value not in allowed:
        raise ConfigError(
            f"{name} must be one of {', '.join(allowed)}, not {value!r}"
            f"{nearest(str(value), allowed)} (--set {name}=)"
        )


def check_range(name: str, value: float | None, low: float, high: float) -> None:
    if value is None:
        return
    if not low <= value <= high:
        raise ConfigError(
            f"{name} must lie in [{low:g}, {high:g}], not {value!r} (--set {name}=VALUE)"
        )


FIELDS = tuple(f.name for f in fields(TrialConfig))
DEFAULTS = {f.name: f.default for f in fields(TrialConfig)}


def nearest(name: str, known: Iterable[str]) -> str:
    """ " (did you mean X?)", where something known is near enough.

    >>> nearest("lora_rnk", ["lora_rank", "seed"])
    ' (did you mean lora_rank?)'
    """
    found = get_close_matches(name, list(known), 1)
    return f" (did you mean {found[0]}?)" if found else ""


class Milestone(NamedTuple):
    """Where a trial is validated, and on what: the arguments of `Finetuner.evaluate`."""

    turns: int  # system turns trained on
    n_dialogues: int | None  # None: all of the split
    replies: bool = True
    bias: float | None = None
