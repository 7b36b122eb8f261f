"""Chats of any origin as dialogues: rows of `messages`, of `conversations`, or of a prompt and its
completion.

Every assistant message is a turn; what was said since the one before it is what it answers. System
messages stand in front of their dialogue. Calls of tools and what those gave back are kept as text,
in Hermes's tags. A row of another layout is refused; a dialogue that is of no use is left out and
counted by its reason.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from trainable.corpus.tables import Place, Row
from trainable.dialogue.dialogue import Dialogue, Turn
from trainable.trial import ConfigError

MESSAGES = ("messages", "conversations", "conversation")  # columns that hold a list of them
PAIRS = (
    *(("prompt", "completion"), ("prompt", "response"), ("question", "answer")),
    *(("instruction", "output"), ("instruction", "response")),
)
MORE = ("input", "context")  # what an instruction is about, in two layouts
SPEAKER, WORDS = ("role", "from"), ("content", "value")  # of a message, in two layouts
ROLES = {
    **dict.fromkeys(("user", "human", "prompter"), "user"),
    **dict.fromkeys(("assistant", "gpt", "model", "bot", "chatgpt"), "assistant"),
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("tool", "function", "observation"), "tool"),
}
IDS = ("id", "dialogue_id", "conversation_id", "prompt_id")


class Unusable(ValueError):
    """Why a dialogue is left out, in a few words."""


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


def read_chats(rows: Iterable[tuple[Place, Row]], split: str, tally: Tally) -> list[Dialogue]:
    """The dialogues of one split's rows. Raises ConfigError on a row of an unknown layout, or of
    another than the first one's."""
    known: tuple[tuple[str, ...], Place] | None = None
    found: list[tuple[str | None, Dialogue]] = []
    for number, (place, row) in enumerate(rows):
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
        except Unusable as reason:
            tally.drop(str(reason), str(place))
    return rename([name for name, _ in found], [dialogue for _, dialogue in found])


def find_layout(row: Row, place: Place) -> tuple[str, ...]:
    """The columns that hold the dialogue."""
    has = {name for name, value in row.items() if value is not None}
    for columns in (*((name,) for name in MESSAGES), *PAIRS):
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
    """The row's messages. Raises Unusable where a column holds no such."""
    if len(layout) == 1:
        messages = row[layout[0]]
        if isinstance(messages, str):  # as a CSV file has them
            messages = _parse(messages)
        if not isinstance(messages, list):
            raise Unusable(f"{layout[0]} is not a list of messages")
        return messages
    asked, answered = (row[name] for name in layout)
    if isinstance(asked, list) and isinstance(answered, list):
        return [*asked, *answered]
    more = [row.get(name) for name in MORE if layout[0] == "instruction"]
    about = [text for text in more if isinstance(text, str) and text.strip()]
    words = "\n".join([asked, *about]) if isinstance(asked, str) else asked
    said = [{"role": "user", "content": words}, {"role": "assistant", "content": answered}]
    system = row.get("system")
    return [{"role": "system", "content": system}, *said] if system else said


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
    if not asked and not is_first:
        raise Unusable("roles out of order: two assistant messages in a row")
    read = "\n".join(
        f"<tool_response>\n{said}\n</tool_response>" if role == "tool" else said
        for role, said in asked
    )
    return Turn(user=read, response=words, delexicalised=words, state={}, booked=())


def read_message(message: Any) -> tuple[str, str]:
    """(role, words). Raises Unusable."""
    if not isinstance(message, Mapping):
        raise Unusable("a message that is no object")
    said_by = next((message[name] for name in SPEAKER if message.get(name) is not None), None)
    role = ROLES.get(str(said_by).lower())
    if role is None:
        raise Unusable(f"a role that is none of user, assistant, system, tool: {said_by!r:.40}")
    content = next((message[name] for name in WORDS if message.get(name) is not None), "")
    words = "\n".join(part for part in (read_text(content), render_calls(message)) if part)
    if not words:
        raise Unusable(f"empty content of the {role}")
    return role, words


def read_text(content: Any) -> str:
    """Of a text, or of a list of parts that are texts. Raises Unusable."""
    if isinstance(content, list):
        parts = [p if isinstance(p, Mapping) else {"type": None} for p in content]
        if any(part.get("type") != "text" for part in parts):
            raise Unusable("content that is not text")
        content = "\n".join(str(part.get("text") or "") for part in parts)
    if not isinstance(content, str):
        raise Unusable("content that is not text")
    try:
        content.encode()
    except UnicodeEncodeError:
        raise Unusable("content that is not valid Unicode") from None
    return content.replace("\r\n", "\n").strip()


def render_calls(message: Mapping[str, Any]) -> str:
    calls = message.get("tool_calls") or []
    if not isinstance(calls, list):
        raise Unusable("calls of tools that are no list")
    spelt = []
    for each in calls:
        function = each.get("function", each) if isinstance(each, Mapping) else {}
        if not isinstance(function, Mapping) or "name" not in function:
            raise Unusable("a tool's call without a name")
        arguments = function.get("arguments", {})
        if isinstance(arguments, str):
            arguments = _parse(arguments)
        call = {"name": function["name"], "arguments": arguments}
        value = json.dumps(call, ensure_ascii=False, default=str)  # Parquet's may hold dates
        spelt.append(f"<tool_call>\n{value}\n</tool_call>")
    return "\n".join(spelt)


def _parse(arguments: str) -> Any:
    try:
        return json.loads(arguments)
    except ValueError:
        return arguments
