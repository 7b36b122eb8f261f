"""What an endpoint is asked before each reply: the very tokens that the engine's prompt has, as a
text or as messages."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from trainable.corpus.corpus import Corpus
from trainable.corpus.prompt import list_messages
from trainable.corpus.subset import validation_subset
from trainable.dialogue.dialogue import Dialogue
from trainable.trial import ConfigError, TrialConfig
from tune.export.tokens import Tokens, encode_dialogues, read_special


@dataclass(frozen=True, kw_only=True)
class Question:
    dialogue: str
    turn: int
    path: str  # of the API
    prompt: Any  # its field of the body: {"prompt": text or ids}, or {"messages": [...]}


def list_questions(
    config: TrialConfig, corpus: Corpus, tokens: Tokens | None, split: str, n: int
) -> Iterator[Question]:
    """One a system turn of the first n dialogues of the split's fixed order. Without tokens the
    server's own chat template is trusted, and no turn is left out."""
    dialogues = validation_subset(corpus.get_split(split), n)
    if tokens is None:
        for dialogue in dialogues:
            for turn in range(len(dialogue.turns)):
                yield spell_chat(dialogue, turn, 0, config, corpus, takes_system=True)
        return
    by_id = {dialogue.id: dialogue for dialogue in dialogues}
    for window in encode_dialogues(config, tokens, split, n):
        for turn, prompt in zip(window.turns, window.prompts, strict=True):
            ids = window.ids[:prompt].tolist()
            if config.layout == "chat":
                yield find_chat(by_id[window.dialogue_id], turn, ids, config, corpus, tokens)
            else:
                text = spell_text(ids, tokens)
                yield Question(
                    dialogue=window.dialogue_id,
                    turn=turn,
                    path="/completions",
                    prompt={"prompt": text},
                )


def spell_text(ids: Sequence[int], tokens: Tokens) -> str | list[int]:
    """The text that a server tokenises to just these ids, with what it puts in front by itself;
    the ids, where a text comes out otherwise (each piece of a prompt is tokenised apart)."""
    prefix = len(tokens.special.prefix)
    text: str = tokens.tokenizer.decode(ids[prefix:], clean_up_tokenization_spaces=False)
    return text if tokens.tokenizer(text)["input_ids"] == [*ids] else [*ids]


def find_chat(
    dialogue: Dialogue,
    turn: int,
    ids: Sequence[int],
    config: TrialConfig,
    corpus: Corpus,
    tokens: Tokens,
) -> Question:
    """The messages that the template makes these ids of: those of the last turns, where the whole
    dialogue is too long. Raises ConfigError where none do."""
    chat = read_special(config, tokens).chat
    assert chat is not None
    for start in range(turn + 1):
        found = spell_chat(dialogue, turn, start, config, corpus, takes_system=bool(chat.told))
        made = tokens.tokenizer.apply_chat_template(
            found.prompt["messages"], add_generation_prompt=True, return_dict=False
        )
        if list(made) == [*ids]:
            return found
    raise ConfigError(
        f"an endpoint must read the tokens of the trial's prompts, and the chat template makes "
        f"others of turn {turn} of dialogue {dialogue.id}: score the adapter by "
        "tune.evaluate without --endpoint"
    )


def spell_chat(
    dialogue: Dialogue,
    turn: int,
    start: int,
    config: TrialConfig,
    corpus: Corpus,
    *,
    takes_system: bool,
) -> Question:
    known = replace(dialogue, turns=dialogue.turns[start : turn + 1])
    messages = list_messages(known, config, corpus.database, takes_system=takes_system)[:-1]
    return Question(
        dialogue=dialogue.id, turn=turn, path="/chat/completions", prompt={"messages": messages}
    )
