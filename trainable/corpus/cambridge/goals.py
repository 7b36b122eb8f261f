"""What a simulated user wants: drawn from what the city has, so that it can be had."""

from dataclasses import dataclass, field
from random import Random

from trainable.corpus.cambridge.venues import (
    ABSENT,
    AREAS,
    CITY,
    DAYS,
    DONTCARE,
    FOODS,
    STREETS,
    TOWNS,
    Row,
    Tables,
    clock,
    find,
)

# slots that the system wants to know before it offers, in the order in which it asks for them
NEEDED = {
    "restaurant": ("food", "area", "pricerange"),
    "hotel": ("area", "pricerange", "stars"),
    "attraction": ("type", "area"),
    "train": ("destination", "departure", "day", "time"),
    "taxi": ("departure", "destination", "time"),
}
BOOKING = {
    "restaurant": ("bookpeople", "bookday", "booktime"),
    "hotel": ("bookpeople", "bookday", "bookstay"),
    "train": ("bookpeople",),
}
CONTACTS = ("phone", "address", "postcode")
COMBINATIONS = (  # (domains in order, weight)
    (("restaurant",), 14),
    (("hotel",), 10),
    (("attraction",), 9),
    (("train",), 12),
    (("taxi",), 4),
    (("restaurant", "train"), 7),
    (("train", "hotel"), 7),
    (("attraction", "restaurant"), 8),
    (("hotel", "restaurant"), 6),
    (("train", "attraction"), 7),
    (("hotel", "attraction", "taxi"), 4),
    (("attraction", "restaurant", "taxi"), 4),
)
MOST_PEOPLE, MOST_NIGHTS = 6, 5  # beyond these a booking fails


@dataclass(kw_only=True)
class DomainGoal:
    """One domain of a goal."""

    domain: str
    wanted: dict[str, str]  # slot -> value, as the user ends up wanting it
    absent: tuple[str, str] | None = None  # (slot, value) asked for first, and not to be had
    change: tuple[str, str] | None = None  # (slot, value) wanted until the first offer
    asks: tuple[str, ...] = ()  # of CONTACTS, or trainid
    more: tuple[str, ...] = ()  # further details asked for, which the evaluation does not track
    booking: dict[str, str] = field(default_factory=dict)
    refused: tuple[str, str] | None = None  # (slot, value) of a first try at booking that fails
    wants_another: bool = False


def draw_goal(rng: Random, tables: Tables) -> list[DomainGoal]:
    """The wishes of one dialogue, in the order in which the user brings them up."""
    combinations, weights = zip(*COMBINATIONS, strict=True)
    domains = rng.choices(combinations, weights)[0]
    wishes: list[DomainGoal] = []
    for domain in domains:
        if domain == "train":
            wishes.append(draw_train(rng, tables))
        elif domain == "taxi":
            wishes.append(draw_taxi(rng))
        else:
            wishes.append(draw_venue(rng, tables, domain, is_busy=len(domains) > 2))
    return wishes


def draw_venue(rng: Random, tables: Tables, domain: str, is_busy: bool) -> DomainGoal:
    row = rng.choice(tables[domain])
    if rng.random() < 0.12:
        wish = DomainGoal(domain=domain, wanted={"name": row["name"]})
    else:
        wish = DomainGoal(domain=domain, wanted=draw_constraints(rng, domain, row))
        if rng.random() < 0.18:
            wish.absent = draw_absent(rng, domain)
        elif rng.random() < 0.25 and wish.wanted.get("area") in AREAS:
            wish.change = draw_change(rng, wish, tables)
        elif rng.random() < 0.2:
            wish.wants_another = len(find(tables[domain], wish.wanted)) > 1
    if domain != "attraction" and rng.random() < 0.6:
        wish.booking = draw_booking(rng, domain)
        wish.refused = draw_refusal(rng, domain)
    number = rng.choice((0, 1, 1) if wish.booking or is_busy else (1, 2, 2, 3))
    wish.asks = tuple(rng.sample(CONTACTS, number))
    if domain == "attraction" and rng.random() < 0.3:
        wish.more = ("entrancefee",)
    return wish


def draw_constraints(rng: Random, domain: str, row: Row) -> dict[str, str]:
    wanted = {slot: row[slot] for slot in NEEDED[domain]}
    optional = [slot for slot in ("area", "pricerange", "stars") if slot in wanted]
    if rng.random() < 0.35:
        wanted[rng.choice(optional)] = DONTCARE
    if domain == "hotel":
        for slot in rng.sample(("type", "parking", "internet"), rng.choice((0, 1, 1))):
            if row[slot] != "no":
                wanted[slot] = row[slot]
    return wanted


def draw_absent(rng: Random, domain: str) -> tuple[str, str] | None:
    slot = {"restaurant": "food", "attraction": "type", "train": "destination"}.get(domain)
    return None if slot is None else (slot, rng.choice(ABSENT[slot]))


def draw_change(rng: Random, wish: DomainGoal, tables: Tables) -> tuple[str, str] | None:
    """Another value of one slot, under which there would be an offer as well."""
    slot: str = "area"
    values: tuple[str, ...] = AREAS
    if wish.domain == "restaurant" and rng.random() < 0.5:
        slot, values = ("food", FOODS)
    others = [
        value
        for value in values
        if value != wish.wanted[slot] and find(tables[wish.domain], wish.wanted | {slot: value})
    ]
    return (slot, rng.choice(others)) if others else None


def draw_booking(rng: Random, domain: str) -> dict[str, str]:
    values = {
        "bookpeople": str(rng.randint(2, MOST_PEOPLE)),
        "bookday": rng.choice(DAYS),
        "booktime": clock(rng.randrange(11 * 60, 20 * 60 + 1, 30)),
        "bookstay": str(rng.randint(2, MOST_NIGHTS)),
    }
    return {slot: values[slot] for slot in BOOKING[domain]}


def draw_refusal(rng: Random, domain: str) -> tuple[str, str] | None:
    """A first try that fails: a table too late, or too many nights."""
    if rng.random() > 0.25:
        return None
    if domain == "restaurant":
        return "booktime", clock(rng.randrange(21 * 60, 23 * 60, 30))
    return "bookstay", str(rng.randint(MOST_NIGHTS + 2, MOST_NIGHTS + 4))


def draw_train(rng: Random, tables: Tables) -> DomainGoal:
    row = rng.choice(tables["train"])
    wanted = {slot: row[slot] for slot in ("departure", "destination", "day")}
    if rng.random() < 0.5:
        wanted["leaveat"] = row["leaveAt"]
    else:
        wanted["arriveby"] = row["arriveBy"]
    wish = DomainGoal(domain="train", wanted=wanted)
    if rng.random() < 0.15 and row["departure"] == CITY:
        wish.absent = draw_absent(rng, "train")
    if rng.random() < 0.6:
        wish.booking = draw_booking(rng, "train")
    else:
        wish.asks = ("trainid",)
    wish.more = tuple(rng.sample(("price", "duration"), rng.choice((0, 1, 1, 2))))
    return wish


def draw_taxi(rng: Random) -> DomainGoal:
    departure, destination = rng.sample((*STREETS, *TOWNS), 2)
    slot = rng.choice(("leaveat", "arriveby"))
    wanted = {"departure": departure, "destination": destination}
    wanted = {key: f"{v} street" if v in STREETS else v for key, v in wanted.items()}
    time = clock(rng.randrange(7 * 60, 22 * 60, 15))
    return DomainGoal(domain="taxi", wanted=wanted | {slot: time}, asks=("phone",))
