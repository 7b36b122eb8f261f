"""Dialogues as text: the lines that a model reads and the lines it learns to write.

One dialogue is one sequence; `bot>` (and `state>`, where the state is predicted) opens a target:

    user> i need a cheap hotel
    state> hotel pricerange = cheap
    db> hotel 3
    bot> there are [value_count] hotels . which area ?<eos>

Where the context says so, `booked>` tells what is booked by then, once something is. With a plan
the target begins with the placeholders that the reply will hold, or, as far as the corpus annotates
it, with what the system does (`hotel inform [choice] ; hotel request area`); `plan>` opens it:

    plan> [choice]
    bot> there are [choice] hotels . which area ?<eos>

Under layout=chat the base model's own template takes the place of `user>` and `bot>`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from trainable.corpus.chat import TOLD, Chat
from trainable.dialogue.database import DOMAINS, Database
from trainable.dialogue.dialogue import Dialogue, Requests, State, Turn
from trainable.dialogue.slots import PLACEHOLDER
from trainable.trial import TrialConfig

REPLY = "\nbot> "  # between a plan and its reply
ASKED = "?"  # the value of a slot that the user asks for


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of text that is tokenised by itself, so that prompts and targets meet at a token
    border whatever surrounds them."""

    text: str
    is_target: bool  # learnt, and closed by the end-of-sequence token
    turn: int  # index of the system turn; -1 for the instruction


def render(
    dialogue: Dialogue, config: TrialConfig, database: Database, chat: Chat | None = None
) -> list[Segment]:
    """The dialogue's segments in order, under the config's context, target and response; in lines,
    or as the base model's chat."""
    if chat is not None:
        return render_chat(dialogue, config, database, chat)
    heads = [text for text in (config.instruction, dialogue.system) if text]
    segments = [Segment("".join(f"{text}\n" for text in heads), False, -1)] if heads else []
    for number, turn in enumerate(dialogue.turns):
        segments += render_turn(turn, number, config, database)
    return segments


def render_turn(turn: Turn, number: int, config: TrialConfig, database: Database) -> list[Segment]:
    """One exchange: the prompt's segments and the targets' in turn."""
    lead = "\n" if number else ""
    prompt = f"{lead}user> {turn.user}\n"
    segments = []
    if finds_state(config):
        state = spell_state(turn, config)
        segments += [Segment(f"{prompt}state>", False, number), Segment(f" {state}", True, number)]
        prompt = "\n"
    prompt += "".join(f"{line}\n" for line in list_context(turn, config, database))
    return [
        *segments,
        Segment(f"{prompt}{spell_opening(config)}", False, number),
        Segment(f" {spell_target(turn, config)}", True, number),
    ]


def render_chat(
    dialogue: Dialogue, config: TrialConfig, database: Database, chat: Chat
) -> list[Segment]:
    """The same as messages: state and matches stand below the user's words, in the user's."""
    own = chat.told if dialogue.system and chat.told else chat
    head = own.head.replace(TOLD, dialogue.system)
    segments = [Segment(head, False, -1)] if head else []
    for number, turn in enumerate(dialogue.turns):
        lead = own.later if number else own.first
        words = "\n".join([turn.user, *list_context(turn, config, database)])
        if dialogue.system and own is chat and not number:
            words = join_system(dialogue.system, words)
        segments.append(Segment(f"{lead}{words}{own.reply}", False, number))
        text = f"{own.lead}{spell_target(turn, config)}{own.tail}"
        segments.append(Segment(text, True, number))
    return segments


def join_system(system: str, words: str) -> str:
    """A dialogue's system message in front of its first user's words."""
    return f"{system}\n\n{words}"


def list_messages(
    dialogue: Dialogue, config: TrialConfig, database: Database, *, takes_system: bool
) -> list[dict[str, str]]:
    """The dialogue as `apply_chat_template` takes it, for the text of `render_chat`;
    `takes_system`: whether the template has a place for a dialogue's own system message."""
    heads = [config.instruction, dialogue.system if takes_system else ""]
    system = "\n".join(text for text in heads if text)
    messages = [{"role": "system", "content": system}] if system else []
    for number, turn in enumerate(dialogue.turns):
        words = "\n".join([turn.user, *list_context(turn, config, database)])
        if dialogue.system and not takes_system and not number:
            words = join_system(dialogue.system, words)
        messages.append({"role": "user", "content": words})
        messages.append({"role": "assistant", "content": spell_target(turn, config)})
    return messages


def list_context(turn: Turn, config: TrialConfig, database: Database) -> list[str]:
    """The lines of the prompt that no user has said."""
    lines = []
    if config.context != "history" and not finds_state(config):
        lines.append(f"state> {spell_state(turn, config)}")
    if "db" in config.context:
        lines.append(f"db> {render_matches(turn.state, database)}")
    if "booked" in config.context and turn.booked:
        lines.append(f"booked> {' '.join(sorted(turn.booked))}")
    return lines


def pick_response(turn: Turn, config: TrialConfig) -> str:
    """With placeholders, or lexicalised."""
    return (turn.delexicalised if config.response == "delexicalised" else turn.response).strip()


def finds_state(config: TrialConfig) -> bool:
    """Whether the belief state in front of a reply is the model's own."""
    return config.target.startswith("state+")


def has_plan(config: TrialConfig) -> bool:
    """Whether a reply is preceded by its placeholders, or by what the system does."""
    return "plan" in config.target or plans_acts(config)


def plans_acts(config: TrialConfig) -> bool:
    """Whether a plan tells what the system does, of turns where the corpus does."""
    return "acts" in config.target


def spell_opening(config: TrialConfig) -> str:
    """What opens a reply in lines."""
    return "plan>" if has_plan(config) else "bot>"


def spell_target(turn: Turn, config: TrialConfig) -> str:
    """The reply, behind its plan where there is one."""
    reply = pick_response(turn, config)
    return f"{spell_plan(turn, config)}{REPLY}{reply}" if has_plan(config) else reply


def spell_plan(turn: Turn, config: TrialConfig) -> str:
    """Placeholders stand in brackets here, too, so that `placeholder_bias` adds some to a plan."""
    if plans_acts(config) and turn.acts:
        return turn.acts
    return " ".join(f"[{name}]" for name in PLACEHOLDER.findall(turn.delexicalised)) or "none"


def cut_plan(text: str, config: TrialConfig) -> str:
    """What a model wrote without its plan; a plan that no reply follows leaves nothing.

    >>> config = TrialConfig(quantisation="fp32", method="none", target="plan+response")
    >>> cut_plan("[name]\\nbot> it is [name] .", config), cut_plan("[name]", config)
    ('it is [name] .', '')
    """
    return split_plan(text, config)[1]


def split_plan(text: str, config: TrialConfig) -> tuple[str, str]:
    """What a model wrote as its plan, if it plans, and as its reply."""
    if not has_plan(config):
        return "", text
    plan, _, reply = text.partition(REPLY.rstrip())
    return plan.strip(), reply.strip()


def spell_state(turn: Turn, config: TrialConfig) -> str:
    """The belief state in one line, with what the user asks for where the config wants that."""
    return render_state(turn.state, turn.requested if config.requests else {})


def render_state(state: State, requested: Requests | None = None) -> str:
    """The belief state in one line; `parse_state` reads it back.

    >>> render_state({"hotel": {"area": "west", "stars": "4"}, "taxi": {}})
    'hotel area = west , stars = 4'
    >>> render_state({"hotel": {"area": "west"}}, {"hotel": ["phone"], "train": ["price"]})
    'hotel area = west , phone = ? ; train price = ?'
    """
    requested = requested or {}
    lines = []
    for domain in sorted({*state, *requested}):
        pairs = [*state.get(domain, {}).items(), *((s, ASKED) for s in requested.get(domain, ()))]
        if pairs:
            lines.append(f"{domain} " + " , ".join(f"{s} = {value}" for s, value in sorted(pairs)))
    return " ; ".join(lines) or "none"


def parse_state(line: str) -> dict[str, dict[str, str]]:
    """The belief state that a line spells; what cannot be read as `slot = value` is left out, and
    so is what the user asks for.

    >>> parse_state("hotel area = west , stars = 4 ; train day = friday , price = ?")
    {'hotel': {'area': 'west', 'stars': '4'}, 'train': {'day': 'friday'}}
    """
    return {
        domain: values
        for domain, pairs in split_line(line)
        if (values := {slot: value for slot, value in pairs if value != ASKED})
    }


def parse_requests(line: str) -> dict[str, list[str]]:
    """What the user asks for by such a line.

    >>> parse_requests("hotel area = west , phone = ? ; train day = friday")
    {'hotel': ['phone']}
    """
    return {
        domain: slots
        for domain, pairs in split_line(line)
        if (slots := [slot for slot, value in pairs if value == ASKED])
    }


def split_line(line: str) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Each domain of a state's line, with its slots and values."""
    for part in line.strip().split(" ; "):
        domain, _, slots = part.strip().partition(" ")
        pairs = (pair.partition(" = ") for pair in slots.split(" , "))
        yield domain, [(slot.strip(), value.strip()) for slot, sign, value in pairs if sign]


def render_matches(state: State, database: Database) -> str:
    """How many database rows meet each domain's constraints, up to "10+".

    Exact large counts would be noise to the model; whether there are none, one, few or many is
    what decides the next system action.
    """
    counts = []
    for domain, slots in sorted(state.items()):
        if slots and domain in DOMAINS:
            n = len(database.query(domain, slots))
            counts.append(f"{domain} {n if n < 10 else '10+'}")
    return " ; ".join(counts) or "none"
