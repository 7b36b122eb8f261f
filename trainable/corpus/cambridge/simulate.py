"""One dialogue: a user with a goal, and a system whose replies follow from the dialogue so far."""

from random import Random

from trainable.corpus.cambridge.goals import NEEDED, DomainGoal, draw_goal
from trainable.corpus.cambridge.talk import Exchange, Part, Talk
from trainable.corpus.cambridge.user_templates import USER
from trainable.corpus.cambridge.venues import (
    ABSENT,
    CAR_COLOURS,
    CAR_MAKES,
    DONTCARE,
    Row,
    Tables,
    find,
)
from trainable.corpus.cambridge.wording import BRISK, PLAIN, REGISTERS, WARM, Utterance, word

# column of a table -> slot, where they are spelt differently
COLUMNS = {"entrance fee": "entrancefee", "trainID": "trainid", "leaveAt": "leaveat"}
COLUMNS |= {"arriveBy": "arriveby"}


def simulate(
    rng: Random, tables: Tables, is_mirroring: bool = True
) -> tuple[list[DomainGoal], list[Exchange]]:
    """A goal and the dialogue that reaches it. The system mirrors the user's register, or else
    answers in any register."""
    wishes = draw_goal(rng, tables)
    register = rng.choice(REGISTERS)
    replies = (register,) if is_mirroring else REGISTERS
    talk = Talk(rng=rng, tables=tables, register=register, replies=replies)
    for wish in wishes:
        talk.domain = wish.domain
        if wish.domain == "taxi":
            connect(talk, wish)
        find_offer(talk, wish)
        follow_up(talk, wish)
    talk.exchange(talk.user(("thanks", {}), act="general-thank"), ("bye", {}))
    return wishes, talk.exchanges


def connect(talk: Talk, wish: DomainGoal) -> None:
    """A taxi after two venues goes from one to the other."""
    names = [row["name"] for row in talk.offers if "name" in row]
    if len(names) > 1:
        wish.wanted["departure"], wish.wanted["destination"] = names[-2:]


def find_offer(talk: Talk, wish: DomainGoal) -> None:
    """From the opening to the offer that meets what is wanted."""
    pending = dict(wish.wanted)
    pending.update(pair for pair in (wish.absent, wish.change) if pair)
    user = open_domain(talk, wish, pending)
    while (step := next_step(talk)) != "offer":
        talk.exchange(user, (f"{wish.domain}.{step}", dict(talk.state[wish.domain])))
        user = answer(talk, wish, pending, step)
    offer(talk, user)
    if wish.change is not None:
        slot = wish.change[0]
        talk.offers.pop()
        offer(talk, talk.user((f"change.{slot}", {slot: wish.wanted[slot]})))
    if wish.wants_another:
        taken = talk.offers.pop()
        others = [row for row in matches(talk) if row is not taken]
        talk.offers.append(talk.rng.choice(others))
        talk.exchange(talk.user(("another", {})), ("another", spell(talk.offers[-1])))


def open_domain(talk: Talk, wish: DomainGoal, pending: dict[str, str]) -> Utterance:
    """The opening gives what the system never asks for, and some of what it would."""
    if "name" in pending:
        return talk.user(("name", {"name": pending.pop("name")}))
    askable = [slot for slot in pending if as_needed(slot) in NEEDED[wish.domain]]
    number = talk.rng.choice((1, 2, 2, 3))
    given = [slot for slot in pending if slot not in askable]
    given += talk.rng.sample(askable, min(number, len(askable)))
    if wish.absent and wish.absent[0] not in given:
        given.append(wish.absent[0])
    parts: list[Part] = []
    for slot in given:
        value = pending.pop(slot)
        suffix = ".dontcare" if value == DONTCARE else ""
        parts.append((f"with.{slot}{suffix}", {slot: value}))
    opening = "next" if talk.exchanges else "open"
    glue = ", " if talk.register == BRISK else " "
    utterance = talk.user((f"{wish.domain}.{opening}", {}), *parts, glue=glue)
    utterance.text += {PLAIN: ".", BRISK: ""}.get(talk.register, "?" if opening == "open" else "!")
    return utterance


def as_needed(slot: str) -> str:
    return "time" if slot in ("leaveat", "arriveby") else slot


def next_step(talk: Talk) -> str:
    """The system's policy: what cannot be had, then what is missing, then an offer. It looks at
    nothing but the state, so that it can be learnt from the dialogue."""
    state = talk.state[talk.domain]
    if any(value in ABSENT.get(slot, ()) for slot, value in state.items()):
        return "none"
    known = {as_needed(slot) for slot in state}
    missing = [slot for slot in NEEDED[talk.domain] if slot not in known]
    return f"request.{missing[0]}" if missing and "name" not in state else "offer"


def answer(talk: Talk, wish: DomainGoal, pending: dict[str, str], step: str) -> Utterance:
    """The user's reaction to a refusal or a question."""
    if step == "none":
        assert wish.absent is not None
        slot = wish.absent[0]
        return talk.user((f"change.{slot}", {slot: wish.wanted[slot]}))
    wanted = step.removeprefix("request.")
    slot = next(slot for slot in pending if as_needed(slot) == wanted)
    value = pending.pop(slot)
    return talk.user(("dontcare" if value == DONTCARE else f"answer.{slot}", {slot: value}))


def matches(talk: Talk) -> list[Row]:
    return find(talk.tables[talk.domain], talk.state[talk.domain])


def offer(talk: Talk, user: Utterance) -> None:
    """Answers with a row that meets the state: the earliest or latest train, any venue."""
    if talk.domain == "taxi":
        car = f"{talk.rng.choice(CAR_COLOURS)} {talk.rng.choice(CAR_MAKES)}"
        row, number = {"type": car, "phone": f"07{talk.rng.randrange(10**8, 10**9)}"}, 1
    else:
        rows = matches(talk)
        number = len(rows)
        is_train = talk.domain == "train"
        earliest = 0 if "leaveat" in talk.state[talk.domain] else -1
        row = rows[earliest] if is_train else talk.rng.choice(rows)
    talk.offers.append(row)
    talk.exchange(user, (f"{talk.domain}.offer", spell(row) | {"choice": str(number)}))


def spell(row: Row) -> dict[str, str]:
    return {COLUMNS.get(column, column): str(value) for column, value in row.items()}


def follow_up(talk: Talk, wish: DomainGoal) -> None:
    """After the offer: questions and the booking, in either order."""
    details = [slot for slot in (*wish.asks, *wish.more) if slot != "trainid"]
    is_asked = bool(details) and wish.domain != "taxi"
    steps = ["ask"] * is_asked + ["book"] * bool(wish.booking)
    if talk.rng.random() < 0.3:
        steps.reverse()
    for step in steps:
        if step == "ask":
            ask(talk, details)
        else:
            book(talk, wish)


def ask(talk: Talk, details: list[str]) -> None:
    glue = " and "
    user = talk.user(("ask", {}), (f"ask.{details[0]}", {}))
    for slot in details[1:]:
        user.add(glue, word(talk.rng, USER, f"ask.{slot}", talk.register), {}, "")
    user.text += {PLAIN: "?", WARM: ", please?", BRISK: ""}[talk.register]
    user.acts = {f"{talk.domain.capitalize()}-Request": [[slot, "?"] for slot in details]}
    row = spell(talk.offers[-1])
    closing: list[Part] = [("more", row)] if wants_more(talk, len(details)) else []
    talk.exchange(user, *((f"inform.{slot}", row) for slot in details), *closing)


def wants_more(talk: Talk, details: int) -> bool:
    """Whether the system asks what else it may do: by the register, and by how much it said."""
    return talk.register == WARM or (talk.register == PLAIN and details < 2)


def book(talk: Talk, wish: DomainGoal) -> None:
    """A booking in one or two turns, one more when the first try is refused."""
    values = dict(wish.booking)
    if wish.refused:
        values[wish.refused[0]] = wish.refused[1]
    request: Part = ("book", {})
    if wish.domain != "train" and talk.rng.random() < 0.4:
        request = ("book.name", {"name": talk.offers[-1]["name"]})
    details = (f"{wish.domain}.details", values)
    if talk.rng.random() < 0.5:
        talk.exchange(talk.user(request), (f"{wish.domain}.book", {}))
        user = talk.user(details)
    else:
        user = talk.user(request, details)
    if wish.refused:
        talk.exchange(user, (f"{wish.domain}.failed", values))
        slot = wish.refused[0]
        user = talk.user((f"retry.{slot}", {slot: wish.booking[slot]}))
    talk.booked.add(wish.domain)
    closing: list[Part] = [("more", {})] if wants_more(talk, 1) else []
    talk.exchange(
        user, (f"{wish.domain}.booked", wish.booking | {"ref": draw_reference(talk.rng)}), *closing
    )


def draw_reference(rng: Random) -> str:
    return "".join(rng.choices("abcdefghjkmnpqrstuvwxyz23456789", k=8))
