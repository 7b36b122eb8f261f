"""Text of the same city in other domains and styles: what the embedded base model has read.

Dialogues about the city whose system ignores the user's register, dialogues at a library, a
clinic, a garage and the like, a guidebook, and index cards. Replies have values in them, never
slots (on a card, a slot's name is a label in brackets in front of its value). A model that has
read only this knows the words and how a dialogue goes; it has still to learn to delexicalise and
to answer in the user's register.
"""

from collections.abc import Mapping
from random import Random
from typing import Any

from trainable.corpus.cambridge.goals import BOOKING, draw_booking
from trainable.corpus.cambridge.simulate import draw_reference, simulate, spell
from trainable.corpus.cambridge.venues import (
    AREAS,
    CAR_COLOURS,
    CAR_MAKES,
    DAYS,
    PRICES,
    TOWNS,
    Tables,
    build_tables,
    clock,
)
from trainable.corpus.cambridge.wording import ALTERNATIVES, SLOT

POOLS: Mapping[str, tuple[str, ...]] = {
    "title": ("the silent harbour", "a winter garden", "seven bridges", "the last ferry"),
    "person": ("mary", "john", "anna", "peter", "lucy", "omar", "nina", "david", "grace", "tom"),
    "genre": ("novel", "poem", "comedy", "drama", "history", "mystery"),
    "ill": ("cough", "fever", "headache", "sore throat", "bad knee", "rash"),
    "part": ("brake", "wheel", "door", "engine", "mirror", "window", "seat", "light"),
    "pet": ("cat", "dog", "parrot", "rabbit", "pony", "goose"),
    "sport": ("tennis", "swimming", "rowing", "chess", "football", "yoga"),
    "weather": ("rain", "sun", "snow", "fog", "wind"),
    "item": ("lamp", "chair", "coat", "pan", "clock", "basket", "candle", "blanket"),
    "number": tuple(str(number) for number in range(1, 31)),
    "day": DAYS,
    "area": AREAS,
    "level": PRICES,
    "town": TOWNS,
    "colour": CAR_COLOURS,
    "make": CAR_MAKES,
    "clock": tuple(clock(minutes) for minutes in range(300, 1380, 15)),
}
# service -> what users and staff say there, in pairs
SERVICES: Mapping[str, tuple[tuple[str, str], ...]] = {
    "library": (
        (
            "{do you keep|is there} [title] here?",
            "[title] is a [genre] and stands on shelf [number].",
        ),
        ("who wrote that [genre]?", "it was written by [person], {in a cold year|long ago}."),
        ("how long may i keep it?", "you may borrow it until [day], for [number] days in all."),
        ("can [person] collect it?", "yes, [person] can pick it up after [clock]."),
    ),
    "clinic": (
        (
            "i have had a [ill] since [day].",
            "a [ill] is {nothing to worry about|common}. rest well.",
        ),
        ("can doctor [person] see me on [day]?", "doctor [person] is free on [day] at [clock]."),
        ("how many pills for a [ill]?", "take [number] a day, and call us if the [ill] stays."),
        ("where are you?", "we are in the [area], near platform [number]."),
    ),
    "garage": (
        (
            "my [colour] [make] has a broken [part].",
            "we can mend the [part] of your [make] by [day].",
        ),
        ("what does a new [part] cost?", "a [part] is [number] pounds, and the work is [level]."),
        ("when do you open on [day]?", "on [day] the garage opens at [clock]."),
        ("is the [colour] one ready?", "the [colour] [make] {is ready|waits outside}, thanks."),
    ),
    "pets": (
        ("who could look after my [pet]?", "[person] loves a [pet] and has time on [day]."),
        ("my [pet] does not eat.", "give the [pet] water, and bring it in at [clock]."),
        ("what should it weigh?", "a grown [pet] weighs about [number] pounds."),
    ),
    "club": (
        ("is there [sport] on [day]?", "[sport] is on [day] from [clock], in the [area] hall."),
        ("who teaches it?", "[person] does, with a group of [number]."),
        ("is it [level]?", "yes, for members it is [level]."),
        ("can i bring my own [item]?", "a [item] is fine, but [number] would be too many."),
    ),
    "shop": (
        ("i want to return a [item].", "a [item] can be returned until [day]."),
        ("do you have it in [colour]?", "we have [number] in [colour] left, and they are [level]."),
        ("can you send it to [town]?", "we send parcels to [town] on [day], in [number] days."),
    ),
    "weather": (
        ("what will [day] be like in [town]?", "expect [weather] in [town], from about [clock]."),
        ("and in the [area]?", "the [area] will have [weather], at [number] degrees."),
    ),
}
GREETINGS = (
    ("good morning.", "good morning, this is the [service]. how are you?"),
    ("hi, is this the [service]?", "yes it is, [person] speaking."),
    ("excuse me.", "yes? you are through to the [service]."),
)
FAREWELLS = (
    ("okay, see you then.", "see you soon."),
    ("great, i am grateful.", "you are welcome."),
    ("fine.", "take care."),
)
GUIDE = (
    "people say that [name] has a [pricerange] kitchen and [food] dishes. look in the [area].",
    "in the [area] of cambridge, at [address], there is a restaurant by the name of [name].",
    "the phone of [name] is [phone] and its postcode is [postcode].",
    "our [food] friends eat at [name], a restaurant where food and wine are [pricerange].",
    "a hotel or a guesthouse? [name] is a [type], rated [stars] stars, and it is [pricerange].",
    "guests of [name] in the [area] have parking and internet. write to [address], [postcode].",
    "[name] was once a [type]. today it is an attraction, the entrance is at [address].",
    "train number [trainID] runs on [day] from [departure] to [destination].",
    "from [departure] at [leaveAt], in [destination] at [arriveBy]: the [day] train, for [price].",
    "the taxi is a [colour] [make]; its number is [phone].",
    "a booking needs a day, a time and a number of people. keep the reference.",
)


def write_texts(seed: int, number: int) -> list[str]:
    """So many texts: two fifths dialogues about the city, and a fifth each of service dialogues,
    guidebook pages and cards. Dialogues have the turn marks that the whole project uses."""
    rng = Random(seed)
    tables = build_tables(rng)
    writers = (write_stray, write_stray, write_service, write_page, write_card)
    return [rng.choice(writers)(rng, tables) for _ in range(number)]


def write_stray(rng: Random, tables: Tables) -> str:
    """A dialogue about the city whose system takes no notice of the user's register."""
    _, exchanges = simulate(rng, tables, is_mirroring=False)
    return "\n".join(
        f"user> {exchange.user.text}\nbot> {exchange.system.text}<eos>" for exchange in exchanges
    )


def write_service(rng: Random, tables: Tables) -> str:
    """Some exchanges at one service, about one set of people and things; `<eos>` ends replies."""
    service = rng.choice(tuple(SERVICES))
    values = {name: rng.choice(pool) for name, pool in POOLS.items()} | {"service": service}
    pairs = rng.sample(SERVICES[service], min(rng.randint(2, 4), len(SERVICES[service])))
    pairs = [rng.choice(GREETINGS), *pairs, rng.choice(FAREWELLS)]
    return "\n".join(
        f"user> {fill(rng, asked, values)}\nbot> {fill(rng, said, values)}<eos>"
        for asked, said in pairs
    )


def write_page(rng: Random, tables: Tables) -> str:
    """Sentences of a guidebook about the city's venues and trains."""
    sentences: list[str] = []
    while len(sentences) < 6:
        template = rng.choice(GUIDE)
        values = {name: rng.choice(pool) for name, pool in POOLS.items()}
        values |= {k: str(v) for k, v in rng.choice(tables[rng.choice(tuple(tables))]).items()}
        if set(SLOT.findall(template)) <= set(values):
            sentences.append(fill(rng, template, values))
    return " ".join(sentences)


def write_card(rng: Random, tables: Tables) -> str:
    """Index cards: a label in brackets, and its value after it."""
    return "\n".join(draw_card(rng, tables) for _ in range(3))


def draw_card(rng: Random, tables: Tables) -> str:
    """One record of the city, or one booking, in any order of its fields."""
    values = spell(rng.choice(tables[rng.choice(tuple(tables))]))
    booking = draw_booking(rng, rng.choice(tuple(BOOKING)))
    booking |= {"ref": draw_reference(rng), "choice": rng.choice(POOLS["number"])}
    card = rng.choice((values, booking))
    labels = rng.sample(tuple(card), min(5, len(card)))
    return " ".join(f"[{label}] {card[label]}" for label in labels)


def fill(rng: Random, template: str, values: Mapping[str, Any]) -> str:
    drawn = ALTERNATIVES.sub(lambda match: rng.choice(match[1].split("|")), template)
    return SLOT.sub(lambda match: str(values[match[1]]), drawn)
