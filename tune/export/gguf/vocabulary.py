"""The base's tokenizer as llama.cpp reads it: what is trained on is what is served."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trainable.corpus.encode import SpecialTokens
from trainable.model.special_ids import SpecialIds
from trainable.trial import ConfigError
from tune.export.gguf.pre_tokenizer import name_pre_tokenizer

if TYPE_CHECKING:
    from gguf import GGUFWriter

LAST_SCORE = -1e6  # of a token that no merge makes: after all others


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How a trial's texts become tokens."""

    tokenizer: Any
    ids: SpecialIds  # the tokenizer's own
    special: SpecialTokens  # what the trial puts around a sequence and its replies

    @property
    def end(self) -> str:
        """The token that closes a reply."""
        return str(self.tokenizer.convert_ids_to_tokens(self.special.eos))


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    kind: str  # gpt2: pairs of bytes, in order of merges; llama: pieces, by scores
    pre: str  # how a text is cut first
    tokens: Sequence[str]
    types: Sequence[int]
    merges: Sequence[str] = ()
    scores: Sequence[float] = ()
    adds_space: bool = False  # in front of a text


def read_vocabulary(reading: Reading, rows: int) -> Vocabulary:
    """For a model of so many rows. Raises ConfigError where llama.cpp cannot tokenise alike."""
    backend = getattr(reading.tokenizer, "backend_tokenizer", None)
    spelt = json.loads(backend.to_str()) if backend is not None else {"model": {}}
    model = spelt["model"]
    if model.get("type") != "BPE":
        raise ConfigError(
            f"--gguf writes tokenizers that merge pairs (BPE), and the base model's is of the type "
            f"{model.get('type', type(reading.tokenizer).__name__)}: export it with --merged"
        )
    known = {i: t for t, i in reading.tokenizer.get_vocab().items() if i < rows}
    common: Any = {
        "tokens": [known.get(i, f"[PAD{i}]") for i in range(rows)],
        "types": list_types(reading, known, rows, model),
    }
    merges = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
    if not model.get("byte_fallback"):
        pre = name_pre_tokenizer(spelt["pre_tokenizer"])
        return Vocabulary(kind="gpt2", pre=pre, merges=merges, **common)
    first = reading.tokenizer.tokenize("a")[0]
    return Vocabulary(
        kind="llama",
        pre="default",
        scores=score_pieces(common["tokens"], merges),
        adds_space=first.startswith("▁"),
        **common,
    )


def list_types(
    reading: Reading, known: Mapping[int, str], rows: int, model: Mapping[str, Any]
) -> list[int]:
    """What each token is to llama.cpp: special ones are not part of a reply's text, but for those
    that are placeholders."""
    from gguf import TokenType

    added = reading.tokenizer.added_tokens_decoder
    spoken = {*reading.ids.spoken}

    def name(token: int) -> int:
        if token not in known:
            return TokenType.UNUSED
        if known[token] == model.get("unk_token"):
            return TokenType.UNKNOWN
        if token in added:
            is_silent = added[token].special and token not in spoken
            return TokenType.CONTROL if is_silent else TokenType.USER_DEFINED
        is_byte = model.get("byte_fallback") and known[token].startswith("<0x")
        return TokenType.BYTE if is_byte else TokenType.NORMAL

    return [int(name(token)) for token in range(rows)]


def score_pieces(tokens: Sequence[str], merges: Sequence[str]) -> list[float]:
    """The earlier a piece is merged, the higher: SentencePiece's own order of merges."""
    ranks: dict[str, int] = {}
    for rank, merge in enumerate(merges):
        left, _, right = merge.partition(" ")
        ranks.setdefault(left + right, rank)
    return [-float(ranks[token]) if token in ranks else LAST_SCORE for token in tokens]


def add_vocabulary(writer: GGUFWriter, vocabulary: Vocabulary, reading: Reading) -> None:
    """With what stands in front of a sequence and what ends a reply, as the trial was trained. In
    a chat the template itself writes the former."""
    writer.add_tokenizer_model(vocabulary.kind)
    writer.add_tokenizer_pre(vocabulary.pre)
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types(vocabulary.types)
    if vocabulary.kind == "gpt2":
        writer.add_token_merges(vocabulary.merges)
    else:
        writer.add_token_scores(vocabulary.scores)
        writer.add_add_space_prefix(vocabulary.adds_space)
    special, begin = reading.special, find_begin(reading)
    if begin is not None:
        writer.add_bos_token_id(begin)
    writer.add_eos_token_id(special.eos)
    writer.add_eot_token_id(special.eos)
    writer.add_pad_token_id(reading.ids.pad)
    writer.add_add_bos_token(special.chat is None and bool(special.prefix))
    writer.add_add_eos_token(False)


def find_begin(reading: Reading) -> int | None:
    """The token that a sequence begins with, or could. Raises ConfigError where it is several."""
    prefix = reading.special.prefix
    if len(prefix) > 1:
        raise ConfigError(
            f"--gguf writes one token in front of a text, and this base model's tokenizer puts "
            f"{len(prefix)} there: export it with --merged"
        )
    known = reading.tokenizer.bos_token_id
    return prefix[0] if prefix else None if known is None else int(known)
