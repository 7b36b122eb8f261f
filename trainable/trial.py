"""One trial: what decides its outcome. What it yields: `trainable.result`.

Standard library only: the search, the spaces and the analysis import this without torch or Ray.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from trainable.combinations import check_combinations
from trainable.declared import Declared, check_declared, declare
from trainable.errors import CannotPack, ConfigError, Missing, Setting, TrialFailed, nearest
from trainable.rank_pattern import DEPTHS

# a trial's errors are had from here, too
__all__ = ("CannotPack", "ConfigError", "Missing", "Setting", "TrialFailed", "nearest")

INITS = ("uniform", "pissa")
SCHEDULES = ("constant", "linear", "cosine", "wsd")
# conditions: a field, and the values under which others exist
FOUR_BIT = ("quantisation", ("nf4", "fp4"))
LORA = ("method", ("lora",))
TRAINED = ("method", ("lora", "full"))
SAMPLED = ("decoding", ("sampling",))
BEAMS = ("decoding", ("beam",))
DRAWN = ("decoding", ("sampling", "contrastive"))
# what decides which base model a trial stands on
BASE_FIELDS = (
    *("base_model", "initialisation", "quantisation", "double_quantisation"),
    *("compute", "base_products"),
)


@dataclass(frozen=True, kw_only=True, slots=True)  # a driver keeps thousands
class TrialConfig:
    """Everything that decides the outcome of one run, and nothing else. A field without a meaning
    under the others' values is None (`Declared.only_with`). Raises ConfigError when a field is
    wrong."""

    # the model
    base_model: str = declare("tiny", "tiny (embedded), toy (a formula), a hub id or a folder")
    initialisation: str = declare(
        "pretrained", "the base's weights: read, or drawn at random", ("pretrained", "random")
    )
    quantisation: str = declare(
        "nf4", "format of the base's weights", ("nf4", "fp4", "int8", "bf16", "fp32")
    )
    double_quantisation: bool | None = declare(
        None, "quantises the 4-bit blocks' scales, too", only_with=FOUR_BIT
    )
    compute: str = declare(
        "auto", "precision of passes; auto: the fastest here", ("auto", "fp16", "bf16", "fp32")
    )
    base_products: str = declare(
        "compute", "what the frozen base multiplies in; compute: as passes", ("compute", "fp8")
    )
    method: str = declare("lora", "an adapter is trained, all or nothing", ("lora", "full", "none"))
    adapter: str | None = declare(
        None, "the folder of an adapter to start from (or only to decode with)"
    )
    # LoRA
    lora_rank: int | None = declare(None, "rank of the adapter's matrices", (1, 1024), LORA)
    alpha_over_rank: float | None = declare(
        None, "scale of B A x, which the adapter adds", (1e-3, 1e3), LORA
    )
    rslora: bool | None = declare(None, "scale alpha/sqrt(rank), not alpha/rank", only_with=LORA)
    lora_modules: str | None = declare(
        None, "all-linear, attention, ffn, qv or regexp:PATTERN", only_with=LORA
    )
    lora_layers: str | None = declare(
        None, "depth of the layers with an adapter", ("all", *DEPTHS), LORA, is_optional=True
    )
    rank_pattern: str | None = declare(
        None,
        "other ranks for some layers, by kind, depth or name, such as attention=16,ffn=4",
        only_with=LORA,
        is_optional=True,
    )
    lora_init: str | None = declare(
        None, "A random and B zero, or W's principal parts", INITS, LORA, is_optional=True
    )
    dora: bool | None = declare(
        None, "DoRA: trains output magnitudes (arXiv 2402.09353)", only_with=LORA, is_optional=True
    )
    lora_dropout: float | None = declare(
        None, "share of an adapter's inputs dropped in a step", (0, 0.9), LORA
    )
    lora_plus_ratio: float | None = declare(
        None, "LoRA+: B's rate over A's (arXiv 2402.12354)", (1e-3, 1e3), LORA, is_optional=True
    )
    # training; the unit of all lengths is the system turn
    learning_rate: float | None = declare(None, "peak of the schedule", (1e-8, 10), TRAINED)
    schedule: str | None = declare(None, "of the learning rate after warmup", SCHEDULES, TRAINED)
    warmup_turns: int | None = declare(
        None, "turns over which the learning rate rises from 0", (0, 10**9), TRAINED
    )
    decay_fraction: float | None = declare(
        None, "the last share of the way to a milestone, of decay", (0, 1), ("schedule", ("wsd",))
    )
    batch_turns: int | None = declare(
        None, "turns of a step, at least: it takes whole dialogues", (1, 10**6), TRAINED
    )
    train_turns: int = declare(0, "length of the training in turns", (0, 10**9))
    train_share: float | None = declare(
        None, "share of the training dialogues used", (1e-6, 1), TRAINED, is_optional=True
    )
    weight_decay: float | None = declare(None, "of AdamW", (0, 1), TRAINED)
    clip_norm: float | None = declare(None, "longest gradient of a step", (1e-6, 1e6), TRAINED)
    neftune_alpha: float | None = declare(
        None, "NEFTune's noise (arXiv 2310.05914)", (0, 1000), TRAINED, is_optional=True
    )
    averaging: float | None = declare(
        None,
        "the last share of the steps, whose mean weights are scored and saved; 0: the last step's",
        (0, 1),
        TRAINED,
        is_optional=True,
    )
    # the task
    corpus: str = declare(
        "cambridge", "cambridge (embedded), multiwoz, a file, a folder or a dataset id"
    )
    format: str = declare(
        "dialogues", "what a sequence holds: a dialogue, or a turn", ("dialogues", "turns")
    )
    layout: str = declare(
        "lines", "user> and bot> lines, or the model's chat template", ("lines", "chat")
    )
    context: str = declare(
        "history",
        "what a prompt holds",
        ("history", "history+state", "history+state+db", "history+state+db+booked"),
    )
    requests: bool | None = declare(
        None, "adds what the user asks for to the state, as phone = ?", is_optional=True
    )
    response: str = declare(
        "delexicalised", "values as placeholders, or as they are", ("delexicalised", "lexicalised")
    )
    target: str = declare(
        "response",
        "what is learnt: the reply, after the belief state or a plan (its placeholders, or acts)",
        tuple(f"{s}{p}response" for p in ("", "plan+", "acts+") for s in ("", "state+")),
    )
    instruction: str | None = declare(None, "a line in front of every sequence")
    max_length_tokens: int = declare(
        1024, "most tokens of a sequence; old turns are cut off", (16, 10**6)
    )
    # decoding
    decoding: str = declare(
        "greedy", "how replies are chosen", ("greedy", "sampling", "beam", "contrastive")
    )
    earlier_replies: str = declare(
        "corpus", "whose replies prompts show: the corpus's, or the model's own", ("corpus", "own")
    )
    max_new_tokens: int = declare(80, "most tokens of a reply", (1, 4096))
    min_new_tokens: int = declare(0, "fewest tokens of a reply", (0, 4096))
    placeholder_bias: float | None = declare(
        None,
        "added to the logits of tokens that open a placeholder",
        (-100, 100),
        ("response", ("delexicalised",)),
        is_optional=True,
    )
    repetition_penalty: float = declare(
        1.0, "divides the scores of tokens that the text has", (0.1, 10)
    )
    no_repeat_ngram_size: int = declare(
        0, "n-grams of this size are not repeated; 0: no rule", (0, 100)
    )
    temperature: float | None = declare(
        None, "divides the logits", (1e-3, 100), SAMPLED, is_optional=True
    )
    top_k: int | None = declare(
        None, "only the k likeliest tokens are candidates", (1, 10**6), DRAWN, is_optional=True
    )
    top_p: float | None = declare(
        None,
        "only the likeliest tokens that have this probability together",
        (1e-6, 1),
        SAMPLED,
        is_optional=True,
    )
    typical_p: float | None = declare(
        None,
        "only the most typical tokens that have it together (arXiv 2202.00666)",
        (1e-6, 1),
        SAMPLED,
        is_optional=True,
    )
    num_beams: int | None = declare(None, "sequences kept at each step", (2, 64), BEAMS)
    length_penalty: float | None = declare(
        None,
        "a beam's score is divided by its length to this power",
        (-10, 10),
        BEAMS,
        is_optional=True,
    )
    penalty_alpha: float | None = declare(
        None,
        "weight of the degeneration penalty (arXiv 2202.06417)",
        (0, 1),
        ("decoding", ("contrastive",)),
    )
    seed: int = declare(
        0, "of the data order, the adapter's first weights, dropout and sampling", (0, 2**31 - 1)
    )

    def __post_init__(self) -> None:
        values = {name: getattr(self, name) for name in FIELDS}
        check_declared(values, DECLARED, KINDS)
        check_combinations(values)

    def scale_at(self, rank: int) -> float:
        """alpha/rank, or alpha/sqrt(rank) with rank-stabilised LoRA (arXiv 2312.03732)."""
        assert self.alpha_over_rank is not None
        return self.alpha_over_rank * (rank**0.5 if self.rslora else 1)

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
                    f"no field is called {name!r}{nearest(name, known)}: take one of "
                    f"{', '.join(sorted(known))} (",
                    *(Setting("FIELD", "VALUE"), ")"),
                )
        return cls(**values)


DECLARED: dict[str, Declared] = {f.name: f.metadata["declared"] for f in fields(TrialConfig)}
KINDS = {f.name: str(f.type) for f in fields(TrialConfig)}  # int, float | None ...
FIELDS = tuple(DECLARED)
DEFAULTS: dict[str, Any] = {f.name: f.default for f in fields(TrialConfig)}
CHOICES = {name: known.choices for name, known in DECLARED.items() if known.choices}
RANGES = {name: known.within for name, known in DECLARED.items() if known.within}
# (field that decides, its values, fields that exist only then)
CONDITIONS = tuple(
    (*rule, tuple(name for name, known in DECLARED.items() if known.only_with == rule))
    for rule in dict.fromkeys(known.only_with for known in DECLARED.values() if known.only_with)
)
