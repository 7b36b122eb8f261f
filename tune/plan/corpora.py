"""How long a sweep's corpora are in its base model's tokens, and whether they fit its context."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from trainable.corpus.encode import TEXT_FIELDS, encode
from trainable.corpus.load import load_corpus
from trainable.corpus.prompt import plans_acts
from trainable.model.source import list_files
from trainable.model.verdicts import read_code
from trainable.system.cache import name_content, recall
from trainable.trial import TrialConfig
from tune.plan.task import is_own

if TYPE_CHECKING:
    from trainable.corpus.corpus import Corpus
    from trainable.dialogue.dialogue import Dialogue

LONGEST = 200  # dialogues that are encoded, to see whether all fit the context
SAMPLE = 300  # dialogues whose tokens tell those of all


def describe_corpora(configs: Iterable[TrialConfig]) -> list[str]:
    """Of corpora that are not embedded: dialogues, turns and tokens of each split, and what was
    dropped and why. Raises ConfigError where a dialogue does not fit the context."""
    own = list(filter(is_own, configs))
    lines = []
    for config in {(c.corpus, c.layout, c.max_length_tokens): c for c in own}.values():
        corpus = load_corpus(config.corpus)
        rate = recall_rate(config, corpus)
        for split, dialogues in corpus.splits.items():
            turns = sum(len(d.turns) for d in dialogues)
            tokens = rate * sum(map(_measure, dialogues))
            lines.append(
                f"corpus {corpus.name}, {split}: {len(dialogues):,} dialogues, {turns:,} turns, "
                f"about {tokens:,.0f} tokens (layout {config.layout})"
            )
    planned = dict.fromkeys(config.corpus for config in own if plans_acts(config))
    lines += [describe_acts(load_corpus(name)) for name in planned]
    return list(dict.fromkeys(lines))


def describe_acts(corpus: Corpus) -> str:
    """Of how many turns a plan tells what the system does, by split."""
    shares = []
    for split, dialogues in corpus.splits.items():
        known = [bool(turn.acts) for dialogue in dialogues for turn in dialogue.turns]
        shares.append(f"{split} {sum(known):,} of {len(known):,}")
    told = f"corpus {corpus.name}: turns whose acts are known: {', '.join(shares)}"
    return f"{told}; a plan of the others is their placeholders"


def recall_rate(config: TrialConfig, corpus: Corpus) -> float:
    """`measure_rate`, kept as long as nothing changes that it depends on: the tokenizer and what it
    imports take seconds."""
    files = list_files(config.base_model)
    if not files:
        return measure_rate(config, corpus)
    text = [getattr(config, name) for name in TEXT_FIELDS if name != "corpus"]
    parts = (corpus.fingerprint, [*map(name_content, files)], text, read_code("corpus", "model"))
    key = hashlib.sha256(repr(parts).encode()).hexdigest()[:16]
    return float(recall(f"rate-{key}", lambda: measure_rate(config, corpus)))


def measure_rate(config: TrialConfig, corpus: Corpus) -> float:
    """Tokens a character, of some dialogues. Raises ConfigError where one of the longest exchanges
    does not fit."""
    from tune.export.tokens import load_tokens, read_special

    every = [d for dialogues in corpus.splits.values() for d in dialogues]
    longest = sorted(every, key=lambda d: max(map(_measure_turn, d.turns)), reverse=True)
    step = max(len(every) // SAMPLE, 1)
    tokens = load_tokens(config)

    def write(dialogues: Sequence[Dialogue]) -> int:
        windows = encode(
            dialogues,
            replace(config, format="dialogues"),
            corpus.database,
            lambda texts: list(tokens.tokenizer(texts, add_special_tokens=False)["input_ids"]),
            read_special(config, tokens),
        )
        return sum(len(window.ids) for window in windows)

    write(longest[:LONGEST])
    sample = every[::step]
    return write(sample) / max(sum(map(_measure, sample)), 1)


def _measure_turn(turn: Any) -> int:
    return len(turn.user) + len(turn.response)


def _measure(dialogue: Dialogue) -> int:
    """Characters."""
    return len(dialogue.system) + sum(map(_measure_turn, dialogue.turns))
