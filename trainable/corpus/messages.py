"""One message of a chat, in the ways that tools write it: who says it, and what."""

import json
from ast import literal_eval
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

SPEAKER = ("role", "from", "speaker")  # of a message, in three layouts
WORDS = ("content", "value", "text")
ROLES = {
    **dict.fromkeys(("user", "human", "prompter", "customer"), "user"),
    **dict.fromkeys(("assistant", "gpt", "model", "bot", "chatbot", "chatgpt", "ai"), "assistant"),
    **dict.fromkeys(("agent", "function_call", "tool_call", "tool_calls"), "assistant"),
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("tool", "function", "observation", "tool_response", "ipython"), "tool"),
}
CALLS = ("function_call", "tool_call", "tool_calls")  # roles whose words are calls of tools
TEXT_PARTS = ("text", "input_text", "output_text")


class Unusable(ValueError):
    """Why a dialogue is left out, in a few words."""


def read_list(messages: Any, column: str) -> list[Any]:
    """A column's messages; texts alone are a user's and an assistant's in turn. Raises Unusable."""
    if isinstance(messages, str):  # as a CSV file has them, in JSON or as Python prints them
        messages = parse(messages)
    if isinstance(messages, str):
        with suppress(ValueError, SyntaxError, MemoryError, RecursionError):
            messages = literal_eval(messages)
    if not isinstance(messages, list):
        raise Unusable(f"{column} is not a list of messages")
    is_plain = len(messages) > 1 and all(isinstance(message, str) for message in messages)
    return alternate(messages) if is_plain else messages


def alternate(texts: Iterable[str]) -> list[dict[str, str]]:
    """Messages of texts alone, which a user begins."""
    roles = ("user", "assistant")
    return [{"role": roles[i % 2], "content": text} for i, text in enumerate(texts)]


def name_speaker(message: Any) -> str:
    """As the message has it, but for case and blanks; "" where it has none."""
    given = (message.get(name) for name in SPEAKER) if isinstance(message, Mapping) else ()
    return next((str(name).strip().lower() for name in given if name is not None), "")


def find_role(message: Any) -> str | None:
    """The message's role under our names; None: it has none of them."""
    return ROLES.get(name_speaker(message))


def read_message(message: Any) -> tuple[str, str]:
    """(role, words). Raises Unusable."""
    if not isinstance(message, Mapping):
        raise Unusable("a message that is no object")
    name, role = name_speaker(message), find_role(message)
    if role is None:
        raise Unusable(f"a role that is none of user, assistant, system, tool: {name!r:.40}")
    content = next((message[name] for name in WORDS if message.get(name) is not None), "")
    words = read_text(content)
    if name in CALLS:
        words = "\n".join(spell_call(call) for call in list_calls(parse(words)))
    words = "\n".join(part for part in (words, render_calls(message)) if part)
    if not words:
        raise Unusable(f"empty content of the {role}")
    return role, words


def read_text(content: Any) -> str:
    """Of a text, or of a list of parts that are texts. Raises Unusable."""
    if isinstance(content, list):
        content = "\n".join(map(read_part, content))
    if not isinstance(content, str):
        raise Unusable("content that is not text")
    try:
        content.encode()
    except UnicodeEncodeError:
        raise Unusable("content that is not valid Unicode") from None
    return content.replace("\r\n", "\n").strip()


def read_part(part: Any) -> str:
    """A part's text. Raises Unusable."""
    if isinstance(part, str):
        return part
    if not isinstance(part, Mapping) or part.get("type") not in TEXT_PARTS:
        raise Unusable("content that is not text")
    text = part.get("text") or ""
    return str(text.get("value") or "") if isinstance(text, Mapping) else str(text)


def render_calls(message: Mapping[str, Any]) -> str:
    """OpenAI's `tool_calls`, or the one `function_call` of its older layout."""
    calls = message.get("tool_calls") or message.get("function_call") or []
    return "\n".join(map(spell_call, filter(is_there, list_calls(parse(calls)))))


def is_there(call: Any) -> bool:
    """Not a call that a table's column leaves empty."""
    return not (isinstance(call, Mapping) and "name" in call and call["name"] is None)


def list_calls(calls: Any) -> list[Any]:
    """The calls, several or one. Raises Unusable."""
    if isinstance(calls, Mapping):
        return [calls]
    if not isinstance(calls, list):
        raise Unusable("calls of tools that are no list")
    return calls


def spell_call(call: Any) -> str:
    """A call in Hermes's tags. Raises Unusable."""
    function = call.get("function", call) if isinstance(call, Mapping) else {}
    if not isinstance(function, Mapping) or "name" not in function:
        raise Unusable("a tool's call without a name")
    told = {"name": function["name"], "arguments": parse(prune(function.get("arguments", {})))}
    value = json.dumps(told, ensure_ascii=False, default=str)  # Parquet's may hold dates
    return f"<tool_call>\n{value}\n</tool_call>"


def prune(value: Any) -> Any:
    """Without the fields that are None: a table gives each row those of all the others.

    >>> prune({"a": None, "b": [{"c": 1, "d": None}]})
    {'b': [{'c': 1}]}
    """
    if isinstance(value, Mapping):
        return {name: prune(own) for name, own in value.items() if own is not None}
    return [*map(prune, value)] if isinstance(value, list) else value


def parse(value: Any) -> Any:
    """What a text of JSON holds; anything else as it is."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return value
