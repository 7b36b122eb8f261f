"""The invented city: its venues, trains and taxis, as MultiWOZ's database tables spell them."""

from collections.abc import Mapping
from itertools import product
from random import Random
from typing import Any

Row = dict[str, Any]
Tables = dict[str, list[Row]]

AREAS = ("north", "south", "east", "west", "centre")
PRICES = ("cheap", "moderate", "expensive")
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
FOODS = ("italian", "indian", "chinese", "british", "thai", "french", "turkish", "spanish")
ATTRACTIONS = ("museum", "park", "theatre", "gallery", "cinema", "college", "boat")
TOWNS = ("elmsworth", "norbury", "stanhope", "kingsmere", "petersham", "broxley")
# What users ask for and the city does not have: the system has to say so.
ABSENT = {
    "food": ("icelandic", "peruvian", "hungarian"),
    "type": ("aquarium", "zoo"),
    "destination": ("wexcombe", "dunford"),
}
CITY = "cambridge"

QUALITIES = (
    *("copper", "silver", "quiet", "velvet", "amber", "crooked", "hidden", "merry", "scarlet"),
    *("wandering", "golden", "misty", "brave", "lazy", "painted", "humble", "northern", "royal"),
)
DINERS = ("kettle", "spoon", "ladle", "oven", "pepper", "table", "saffron", "plate", "olive")
INNS = ("pillow", "lodge", "swan", "hearth", "feather", "arbour", "anchor")
SIGHTS = ("lantern", "fountain", "willow", "tower", "meadow", "compass", "quill", "heron")
STREETS = ("mill", "bridge", "chapel", "station", "garden", "orchard", "river", "market")
WAYS = ("street", "road", "lane")
CAR_COLOURS = ("black", "white", "red", "blue", "grey", "yellow")
CAR_MAKES = ("skoda", "ford", "volvo", "toyota", "honda", "tesla")

DONTCARE = "dontcare"
FIRST_TRAIN_H, LAST_TRAIN_H = 5, 23


def build_tables(rng: Random) -> Tables:
    """All tables. Every (food, area) pair and (attraction, area) pair exists at least once."""
    return {
        "restaurant": build_restaurants(rng),
        "hotel": build_hotels(rng),
        "attraction": build_attractions(rng),
        "train": build_trains(rng),
    }


def draw_names(rng: Random, nouns: tuple[str, ...], number: int) -> list[str]:
    """Distinct names; no two differ by so little that fuzzy matching takes one for the other."""
    names = [f"the {quality} {noun}" for quality, noun in product(QUALITIES, nouns)]
    return rng.sample(names, number)


def contact(rng: Random) -> Row:
    """Address, phone and postcode of a venue."""
    return {
        "address": f"{rng.randint(1, 99)} {rng.choice(STREETS)} {rng.choice(WAYS)}",
        "phone": f"01223{rng.randint(100000, 999999)}",
        "postcode": f"cb{rng.randint(1, 5)}{rng.randint(1, 9)}{rng.choice('abdefh')}"
        f"{rng.choice('jlnpqr')}",
    }


def build_restaurants(rng: Random) -> list[Row]:
    kinds = list(product(FOODS, AREAS)) + [
        (rng.choice(FOODS), rng.choice(AREAS)) for _ in range(30)
    ]
    names = draw_names(rng, DINERS, len(kinds))
    return [
        {
            "id": str(19000 + number),
            "name": name,
            "food": food,
            "area": area,
            "pricerange": rng.choice(PRICES),
            "type": "restaurant",
            **contact(rng),
        }
        for number, (name, (food, area)) in enumerate(zip(names, kinds, strict=True))
    ]


def build_hotels(rng: Random) -> list[Row]:
    kinds = list(product(AREAS, PRICES, ("hotel", "guesthouse")))
    return [
        {
            "id": str(number),
            "name": name,
            "area": area,
            "pricerange": price,
            "type": kind,
            "stars": str(rng.randint(2, 5)),
            "parking": rng.choice(("yes", "yes", "no")),
            "internet": rng.choice(("yes", "yes", "no")),
            "takesbookings": "yes",
            **contact(rng),
        }
        for number, (name, (area, price, kind)) in enumerate(
            zip(draw_names(rng, INNS, len(kinds)), kinds, strict=True)
        )
    ]


def build_attractions(rng: Random) -> list[Row]:
    kinds = list(product(ATTRACTIONS, AREAS))
    return [
        {
            "id": str(number),
            "name": name,
            "area": area,
            "type": kind,
            "entrance fee": rng.choice(("free", "2 pounds", "4 pounds", "6 pounds")),
            "openhours": "?",
            "pricerange": "?",
            **contact(rng),
        }
        for number, (name, (kind, area)) in enumerate(
            zip(draw_names(rng, SIGHTS, len(kinds)), kinds, strict=True)
        )
    ]


def build_trains(rng: Random) -> list[Row]:
    """One train every two hours, every day, between the city and each town, both ways."""
    rows: list[Row] = []
    for town, day in product(TOWNS, DAYS):
        minutes = 20 + 9 * TOWNS.index(town)
        for departure, destination in ((CITY, town), (town, CITY)):
            offset = rng.randrange(0, 60, 5)
            for hour in range(FIRST_TRAIN_H, LAST_TRAIN_H, 2):
                leave = 60 * hour + offset
                rows.append(
                    {
                        "trainID": f"tr{len(rows) + 1000}",
                        "departure": departure,
                        "destination": destination,
                        "day": day,
                        "leaveAt": clock(leave),
                        "arriveBy": clock(leave + minutes),
                        "duration": f"{minutes} minutes",
                        "price": f"{5 + minutes // 4}.{offset:02d} pounds",
                    }
                )
    return rows


def clock(minutes: int) -> str:
    """
    >>> clock(485)
    '08:05'
    """
    return f"{minutes // 60:02d}:{minutes % 60:02d}"


def find(rows: list[Row], constraints: Mapping[str, str]) -> list[Row]:
    """Rows that meet the constraints. Slots that are no column (`bookday` ...) do not count."""
    return [row for row in rows if all(meets(row, *pair) for pair in constraints.items())]


def meets(row: Row, slot: str, value: str) -> bool:
    if value == DONTCARE:
        return True
    if slot == "leaveat":
        return bool(row["leaveAt"] >= value)
    if slot == "arriveby":
        return bool(row["arriveBy"] <= value)
    return slot not in row or row[slot] == value
