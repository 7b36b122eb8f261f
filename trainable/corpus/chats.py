"""Chats of any origin as dialogues: rows of `messages`, of `conversations`, or of a prompt and its
completion.

Every assistant message is a turn; what was said since the one before it is what it answers. System
messages stand in front of their dialogue. Calls of tools and what those gave back are kept as text,
in Hermes's tags. A row of another layout is refused; a dialogue that is of no use is left out and
counted by its reason.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from trainable.corpus.files import Row
from trainable.corpus.messages import (
    Unusable,
    alternate,
    find_role,
    parse,
    read_list,
    read_message,
)
from trainable.corpus.tables import RowPlace
from trainable.dialogue.dialogue import Dialogue, Turn
from trainable.trial import ConfigError

# columns that hold a list of messages, or of texts in turn
MESSAGES = ("messages", "conversations", "conversation", "dialog", "dialogue")
CHOSEN = "chosen"  # of preferences: the better reply, or a whole conversation that ends with it
PAIRS = (
    *(("prompt", "completion"), ("prompt", "response"), ("prompt", CHOSEN), ("prompt", "answer")),
    *(("question", "answer"), ("question", "response"), ("query", "response")),
    *(("instruction", "output"), ("instruction", "response"), ("input", "output")),
    ("inputs", "targets"),
)
LAYOUTS = (*((name,) for name in MESSAGES), *PAIRS, (CHOSEN,))
MORE = ("input", "context", "passage")  # what a question is about
UNREAD = ("tools", "functions")  # beside messages: what could be called
PAIR = 2  # a question and its answer
ANSWERED = "<tool_response>"  # Hermes's tag
SYSTEM = ("system", "system_prompt")  # beside messages or a pair
IDS = ("id", "dialogue_id", "conversation_id", "prompt_id")


@dataclass
class Tally:
    """What was met on the way."""

    dropped: Counter[str] = field(default_factory=Counter)  # reason -> dialogues
    first: dict[str, str] = field(default_factory=dict)  # reason -> where it was met first
    seen: Counter[str] = field(default_factory=Counter)  # what is worth telling -> dialogues

    def drop(self, reason: str, place: str) -> None:
        self.dropped[reason] += 1
        self.first.setdefault(reason, place)

    def list_notes(self) -> list[str]:
        """One line each, JSON-ready."""
        left_out = [
            f"dropped {n}: {reason} (first: {self.first[reason]})"
            for reason, n in self.dropped.most_common()
        ]
        return [*left_out, *(f"in {n}: {what}" for what, n in self.seen.most_common())]


def read_chats(rows: Iterable[tuple[RowPlace, Row]], split: str, tally: Tally) -> list[Dialogue]:
    """The dialogues of one split's rows. Raises ConfigError on a row of an unknown layout, or of
    another than the first one's."""
    known: tuple[tuple[str, ...], RowPlace] | None = None
    found: list[tuple[str | None, Dialogue]] = []
    for number, (place, given) in enumerate(rows):
        row = {str(name).strip().lower(): value for name, value in given.items()}
        layout = find_layout(row, place)
        known = known or (layout, place)
        if layout != known[0]:
            raise ConfigError(
                f"the rows of a corpus must have one layout: {place} has "
                f"{' and '.join(layout)}, {known[1]} has {' and '.join(known[0])}; make them alike"
            )
        try:
            dialogue = build_dialogue(list_messages(row, layout), f"{split}-{number:06d}", tally)
            found.append((name_row(row), dialogue))
            tally.seen.update(f"column {name} is not read" for name in UNREAD if row.get(name))
        except Unusable as reason:
            tally.drop(str(reason), str(place))
    return rename([name for name, _ in found], [dialogue for _, dialogue in found])


def find_layout(row: Row, place: RowPlace) -> tuple[str, ...]:
    """The columns that hold the dialogue."""
    has = {name for name, value in row.items() if value is not None}
    for columns in LAYOUTS:
        if set(columns) <= has:
            return columns
    raise ConfigError(
        f"a row of a corpus must have messages, conversations, or prompt and completion, and "
        f"{place} has {', '.join(sorted(has)) or 'nothing'}: rename its fields"
    )


def name_row(row: Row) -> str | None:
    """The row's own id, where it has one."""
    named = (row.get(name) for name in IDS)
    return next((str(name) for name in named if isinstance(name, str | int)), None)


def rename(names: Sequence[str | None], dialogues: list[Dialogue]) -> list[Dialogue]:
    """The dialogues under their own ids, where all have one and no two the same."""
    own = [name for name in names if name]
    if len(set(own)) < len(dialogues):
        return dialogues
    return [
        Dialogue(id=name, turns=d.turns, goal={}, system=d.system)
        for name, d in zip(own, dialogues, strict=True)
    ]


def list_messages(row: Row, layout: tuple[str, ...]) -> list[Any]:
    """The row's messages, its system message in front. Raises Unusable."""
    if str(row.get("label")).lower() == "false":
        raise Unusable("a completion that is labelled as bad")
    said = pair_up(row, *layout) if len(layout) > 1 else read_list(row[layout[0]], layout[0])
    system = next((row[name] for name in SYSTEM if row.get(name)), None)
    if not system or (said and find_role(said[0]) == "system"):
        return said
    return [{"role": "system", "content": system}, *said]


def pair_up(row: Row, question: str, answer: str) -> list[Any]:
    """A question and its answer as messages; each may be a list of such already."""
    asked, answered = open_text(row[question]), open_text(row[answer])
    if isinstance(asked, str):
        more = [row.get(name) for name in MORE if name not in (question, answer)]
        about = [text for text in more if isinstance(text, str) and text.strip()]
        words = {"role": "user", "content": "\n".join([asked, *about])}
        asked = [*list_history(row.get("history")), words]
    if isinstance(answered, str):
        answered = [{"role": "assistant", "content": answered}]
    if not isinstance(asked, list) or not isinstance(answered, list):
        raise Unusable(f"{question} and {answer} that are neither texts nor lists of messages")
    first = find_role(answered[0]) if answered else "assistant"
    if answer == CHOSEN and first != "assistant":  # it holds the question, too
        heads = [each for each in asked if find_role(each) == "system" != first]
        return [*heads, *answered]
    return [*asked, *answered]


def open_text(value: Any) -> Any:
    """The messages of a text that is a list of them, as a CSV file has it; else what there is."""
    found = parse(value) if isinstance(value, str) and value.lstrip().startswith("[{") else None
    return found if isinstance(found, list) and all(map(find_role, found)) else value


def list_history(history: Any) -> list[Any]:
    """Earlier questions with their answers, as messages. Raises Unusable."""
    pairs = parse(history) or []
    if not isinstance(pairs, list) or not all(
        isinstance(pair, list) and len(pair) == PAIR for pair in pairs
    ):
        raise Unusable("a history that is no list of questions with answers")
    return alternate(chain.from_iterable(pairs))


def build_dialogue(messages: Iterable[Any], name: str, tally: Tally) -> Dialogue:
    """Raises Unusable."""
    system: list[str] = []
    asked: list[tuple[str, str]] = []  # (role, words) since the last answer
    turns: list[Turn] = []
    for message in messages:
        role, words = read_message(message)
        if role == "system":
            if turns or asked:
                raise Unusable("roles out of order: a system message after the first turn")
            system.append(words)
        elif role == "assistant":
            turns.append(make_turn(asked, words, is_first=not turns))
            asked = []
        elif role == "user" and any(said == "user" for said, _ in asked):
            raise Unusable("roles out of order: two user messages in a row")
        elif role == "tool" and not turns:
            raise Unusable("roles out of order: a tool's answer before any call")
        else:
            asked.append((role, words))
    if not turns:
        raise Unusable("no assistant turn")
    _tell(tally, system, asked, turns, messages)
    return Dialogue(id=name, turns=tuple(turns), goal={}, system="\n".join(system))


def _tell(
    tally: Tally,
    system: list[str],
    unanswered: list[tuple[str, str]],
    turns: list[Turn],
    messages: Iterable[Any],
) -> None:
    roles = {read_message(message)[0] for message in messages}
    facts = {
        "system messages stand in front": bool(system),
        "calls of tools and their answers are kept as text": "tool" in roles,
        "the assistant begins, after an empty user turn": not turns[0].user,
        "a last user message without an answer is left out": bool(unanswered),
    }
    tally.seen.update(what for what, is_so in facts.items() if is_so)


def make_turn(asked: Sequence[tuple[str, str]], words: str, *, is_first: bool) -> Turn:
    """The user's messages, tools' answers among them, and the reply. Raises Unusable."""
    if not asked and not is_first:
        raise Unusable("roles out of order: two assistant messages in a row")
    read = "\n".join(
        f"{ANSWERED}\n{said}\n</tool_response>"
        if role == "tool" and not said.startswith(ANSWERED)
        else said
        for role, said in asked
    )
    return Turn(user=read, response=words, delexicalised=words, state={}, booked=())
