"""Dialogues as token ids: windows that fit the context, with their targets and prompt borders."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from trainable.corpus.chat import Chat, read_chat
from trainable.corpus.prompt import REPLY, Segment, render
from trainable.dialogue.database import Database
from trainable.dialogue.dialogue import Dialogue
from trainable.trial import ConfigError, Setting, TrialConfig

Tokenise = Callable[[list[str]], list[list[int]]]  # texts -> token ids, no special tokens added
Piece = tuple[Segment, list[int]]  # and its tokens
# what of a trial's config decides its windows, beside the tokenizer
TEXT_FIELDS = (
    *("corpus", "format", "layout", "context", "response", "target"),
    *("requests", "instruction", "max_length_tokens"),
)


@dataclass(frozen=True, slots=True)
class Reply:
    """Where a learnt response stands in a window, with its plan and its end-of-sequence token."""

    start: int
    end: int
    words: int  # between spaces, without the plan


@dataclass(frozen=True, eq=False)
class Window:
    """A stretch of one dialogue that fits the context window.

    `is_target[i]` says that token i is to be predicted (from the tokens before it). `prompts` has
    the number of tokens in front of each learnt system response: its prefix for generation.
    """

    dialogue_id: str
    ids: NDArray[np.int32]  # [tokens]
    is_target: NDArray[np.bool_]  # [tokens]
    turns: tuple[int, ...]  # system turns learnt here, in order
    prompts: tuple[int, ...]  # tokens before each of those turns' responses
    replies: tuple[Reply, ...] = ()  # those responses

    @property
    def n_turns(self) -> int:
        return len(self.turns)

    @cached_property
    def targets(self) -> NDArray[np.int64]:
        """Positions of the target tokens; position 0 is never one."""
        return np.flatnonzero(self.is_target)


@dataclass(frozen=True, slots=True)
class EncodedTurn:
    ids: list[int]
    is_target: list[bool]
    prompt_tokens: int  # tokens in front of the response
    words: int  # of the response, its plan left out


@dataclass(frozen=True, slots=True)
class SpecialTokens:
    # in front of every window: BOS, where the model has one and its chat template writes it
    prefix: tuple[int, ...]
    eos: int  # closes every target: the end of the sequence, or a chat template's own end of a turn
    chat: Chat | None = None  # the model's template, where the config wants it


def find_special(
    config: TrialConfig, tokenizer: Any, prefix_ids: tuple[int, ...], eos_id: int
) -> SpecialTokens:
    """What a base model puts around a sequence and its replies. Raises ConfigError where the
    config wants a chat and the model knows none."""
    if config.layout != "chat":
        return SpecialTokens(prefix_ids, eos_id)
    chat = read_chat(tokenizer, config.instruction, tokenizer.decode(list(prefix_ids)))
    end_id = int(tokenizer.convert_tokens_to_ids(chat.end))
    return SpecialTokens(prefix_ids if chat.begin else (), end_id, chat)


def encode(
    dialogues: Sequence[Dialogue],
    config: TrialConfig,
    database: Database,
    tokenise: Tokenise,
    special: SpecialTokens,
    *,
    is_last_alone: bool = False,
) -> list[Window]:
    """Every dialogue's windows, in order. Each system turn is a target in exactly one of them;
    `is_last_alone`: the last turn is one, and the others are not learnt.

    With format "dialogues" a dialogue that fits is one window, which costs a third of the tokens
    of one window a turn and yields the same loss. A longer one continues in further windows that
    begin at turn borders. Raises ConfigError where one exchange alone does not fit.
    """
    segments = [render(dialogue, config, database, special.chat) for dialogue in dialogues]
    ids = tokenise_apart if special.chat is None else tokenise_in_chat
    encoded = ids(segments, tokenise, special)
    windows: list[Window] = []
    for dialogue, pieces in zip(dialogues, encoded, strict=True):
        head = list(special.prefix)
        head += [token for segment, tokens in pieces if segment.turn < 0 for token in tokens]
        turns = [
            encode_turn(list(group), special)
            for number, group in groupby(pieces, key=lambda piece: piece[0].turn)
            if number >= 0
        ]
        learnt = len(turns) - 1 if is_last_alone else 0
        windows += split_windows(dialogue.id, head, turns, config, learnt)
    return windows


def tokenise_apart(
    groups: Sequence[Sequence[Segment]], tokenise: Tokenise, special: SpecialTokens
) -> list[list[Piece]]:
    """Every segment by itself."""
    ids = iter(tokenise([segment.text for group in groups for segment in group]))
    return [[(segment, next(ids)) for segment in group] for group in groups]


def tokenise_in_chat(
    groups: Sequence[Sequence[Segment]], tokenise: Tokenise, special: SpecialTokens
) -> list[list[Piece]]:
    """Every segment as it is in the whole conversation, token for token what
    `apply_chat_template` gives: the tokens that its text adds to those in front of it. By itself
    it can be others: Phi-3's tokenizer drops blanks behind a special token, and Llama 2's puts one
    in front of a text. A segment whose first letters would be part of the token in front of it
    stays by itself."""
    assert special.chat is not None
    steps = [list(grow(group, special.chat)) for group in groups]
    texts = list(dict.fromkeys(text for group in steps for step in group for text in step))
    ids = dict(zip(texts, tokenise(texts), strict=True))

    def add(segment: Segment, before: str, whole: str) -> list[int]:
        front, tokens = ids[before], ids[whole]
        if tokens[: len(front)] != front:
            return tokenise([segment.text])[0]
        is_closed = segment.is_target and tokens[-1:] == [special.eos]
        return tokens[len(front) : len(tokens) - is_closed]

    return [
        [(segment, add(segment, *step)) for segment, step in zip(group, own, strict=True)]
        for group, own in zip(groups, steps, strict=True)
    ]


def grow(segments: Sequence[Segment], chat: Chat) -> Iterator[tuple[str, str]]:
    """For each segment what stands in front of it, from the last special token on, and that with
    the segment, closed where it is a target."""
    before = chat.begin
    for segment in segments:
        whole = f"{before}{segment.text}{chat.end * segment.is_target}"
        yield before, whole
        before = chat.end if segment.is_target else whole


def encode_turn(pieces: list[Piece], special: SpecialTokens) -> EncodedTurn:
    """The pieces' token ids, and which are targets; an end of sequence closes a target."""
    ids: list[int] = []
    is_target: list[bool] = []
    prompt_tokens = 0
    for segment, tokens in pieces:
        prompt_tokens = len(ids)
        piece = [*tokens, special.eos] if segment.is_target else tokens
        ids += piece
        is_target += [segment.is_target] * len(piece)
    words = pieces[-1][0].text.rpartition(REPLY)[2].split()
    return EncodedTurn(ids, is_target, prompt_tokens, len(words))


def split_windows(
    dialogue_id: str,
    head: list[int],
    turns: list[EncodedTurn],
    config: TrialConfig,
    learnt: int = 0,
) -> list[Window]:
    """Cuts a dialogue at turn borders into windows that each learn at least one new turn, from
    `learnt` on."""
    room = config.max_length_tokens - len(head)
    lengths = [len(turn.ids) for turn in turns]
    windows = []
    while learnt < len(turns):
        end = learnt + 1
        if config.format == "dialogues" and learnt == 0:
            while end < len(turns) and sum(lengths[: end + 1]) <= room:
                end += 1
        start = learnt
        while start > 0 and sum(lengths[start - 1 : end]) <= room:
            start -= 1
        if sum(lengths[start:end]) > room:
            raise ConfigError(
                f"turn {learnt} of dialogue {dialogue_id} needs {lengths[learnt] + len(head)} "
                f"tokens, more than max_length_tokens={config.max_length_tokens}: "
                "raise it with ",
                Setting("max_length_tokens", "VALUE"),
            )
        windows.append(join_turns(dialogue_id, head, turns[start:end], start, learnt))
        learnt = end
    return windows


def join_turns(
    dialogue_id: str, head: list[int], turns: list[EncodedTurn], first: int, learnt: int
) -> Window:
    """One window over `turns`, numbered from `first`; those from `learnt` on are targets."""
    ids, is_target = list(head), [False] * len(head)
    prompts: list[int] = []
    replies: list[Reply] = []
    for number, turn in enumerate(turns, start=first):
        if number >= learnt:
            prompts.append(len(ids) + turn.prompt_tokens)
            replies.append(Reply(prompts[-1], len(ids) + len(turn.ids), turn.words))
        ids += turn.ids
        is_target += turn.is_target if number >= learnt else [False] * len(turn.ids)
    return Window(
        dialogue_id,
        np.array(ids, dtype=np.int32),
        np.array(is_target, dtype=np.bool_),
        tuple(range(learnt, first + len(turns))),
        tuple(prompts),
        tuple(replies),
    )
