"""Slot values in one form, so that what a state says can be looked up in the database.

Source: evaluation spec, section 2.
"""

import re
from contextlib import suppress
from functools import lru_cache

_NAMES: dict[str, str] = {
    "hotel du vin bistro": "hotel du vin and bistro",
    "the river bar and grill": "the river bar steakhouse and grill",
    "nando's": "nandos",
    "city center b and b": "city center north b and b",
    "acorn house": "acorn guest house",
    "caffee uno": "caffe uno",
    "cafe uno": "caffe uno",
    "rosa's": "rosas bed and breakfast",
    "restaurant called two two": "restaurant two two",
    "restaurant 2 two": "restaurant two two",
    "restaurant two 2": "restaurant two two",
    "restaurant 2 2": "restaurant two two",
    "restaurant 1 7": "restaurant one seven",
    "restaurant 17": "restaurant one seven",
    "lime house": "limehouse",
    "cityrooms": "cityroomz",
    "whale of time": "whale of a time",
    "huntingdon hotel": "huntingdon marriott hotel",
    "holiday inn exlpress, cambridge": "express by holiday inn cambridge",
    "university hotel": "university arms hotel",
    "arbury guesthouse and lodge": "arbury lodge guesthouse",
    "arbury guesthouse": "arbury lodge guesthouse",
    "bridge house": "bridge guest house",
    "nandos in the city centre": "nandos city centre",
    "broughton gallery": "broughton house gallery",
    "scudamores punt co": "scudamores punting co",
    "cambridge botanic gardens": "cambridge university botanic gardens",
    "the botanical gardens at cambridge university": "cambridge university botanic gardens",
    "the junction": "junction theatre",
    "trinity street college": "trinity college",
    "christ college": "christ's college",
    "christs": "christ's college",
    "history of science museum": "whipple museum of the history of science",
    "parkside pools": "parkside swimming pool",
    "cafe jello museum": "cafe jello gallery",
}
_TYPES: dict[str, str] = {
    "swimming pool": "swimmingpool",
    "mutliple sports": "multiple sports",
    "night club": "nightclub",
    "guest house": "guesthouse",
}
_FOODS: dict[str, str] = {
    "eriterean": "mediterranean",
    "brazilian": "portuguese",
    "portugese": "portuguese",
    "sea food": "seafood",
    "modern american": "north american",
    "americas": "north american",
    "intalian": "italian",
    "italain": "italian",
    "asian or oriental": "asian",
    "english": "british",
    "brutish": "british",
    "bristish": "british",
    "australasian": "australian",
    "gastropod": "gastropub",
    "europeon": "european",
}
_TIMES: dict[str, str] = {
    "afternoon": "13:00",
    "lunch": "12:00",
    "noon": "12:00",
    "mid-day": "12:00",
    "around lunch time": "12:00",
    "morning": "08:00",
    "seven o'clock tomorrow evening": "07:00",
    "three forty five p.m": "15:45",
    "one thirty p.m.": "13:30",
    "six fourty five": "06:45",
    "eight thirty": "08:30",
}
_TIME_STARTS: dict[str, str] = {"one o'clock p.m": "13:00", "ten o'clock a.m": "10:00"}


@lru_cache(maxsize=1 << 10)
def normalise_slot(name: str) -> str:
    """The one form of a slot's name, which columns of databases, goals and states spell each in
    their own way.

    >>> normalise_slot("arriveBy"), normalise_slot("leave At"), normalise_slot("entrance fee")
    ('arrive', 'leave', 'entrancefee')
    """
    slot = name.lower().replace(" ", "")
    return {"arriveby": "arrive", "leaveat": "leave"}.get(slot, slot)


@lru_cache(maxsize=1 << 16)
def normalise_value(slot: str, value: str) -> str:
    """The value as the database spells it; the slot's name decides the rules.

    >>> normalise_value("leave", "5:15 pm"), normalise_value("name", "Nando's")
    ('17:15', 'nandos')
    """
    match slot:
        case "name" | "destination" | "departure":
            return _normalise_name(value)
        case "type":
            return _TYPES.get(value, value)
        case "food":
            food = value.strip().lower()
            return _FOODS.get(food, food)
        case "arrive" | "leave" | "arriveby" | "leaveat" | "time":
            return _normalise_time(value)
        case "parking" | "internet":
            return "yes" if value == "free" else value
        case _:
            return value


def _normalise_name(value: str) -> str:
    name = value.strip().lower()
    name = name.replace(" & ", " and ").replace("&", " and ").replace(" '", "'")
    return _NAMES.get(name, name)


def _normalise_time(value: str) -> str:
    """`hh:mm` where the words can be read as a time, else what is left of them."""
    time = value.strip().lower()
    if time in _TIMES:
        return _TIMES[time]
    for start, meaning in _TIME_STARTS.items():
        if time.startswith(start):
            return meaning
    time = _cut_morning(_cut_preposition(time))
    time, afternoon = _cut_afternoon(time)
    if afternoon:
        return afternoon
    return _pad_time(time)


def _cut_preposition(time: str) -> str:
    if time.startswith("by"):
        time = time[3:]  # as mwzeval has it: the character after "by" goes, whatever it is
    if time.startswith("after"):
        time = time[5:].strip()
    if time.startswith("afer"):
        time = time[4:].strip()
    return time


def _cut_morning(time: str) -> str:
    for ending in ("am", "a.m."):
        if time.endswith(ending):
            time = time[: -len(ending)].strip()
    return time


def _cut_afternoon(time: str) -> tuple[str, str]:
    """What is left before "pm", and the time on the 24 hours' clock where that is a time."""
    if not time.endswith(("pm", "p.m.")):
        return time, ""
    for ending in ("pm", "p.m."):
        if time.endswith(ending):
            time = time[: -len(ending)].strip()
    hours, colon, minutes = time.partition(":")
    if ":" not in minutes and (colon or hours.isdigit()):
        with suppress(ValueError):  # mwzeval reads hours by int(), which takes "+5" and "1_0" too
            return time, f"{int(hours) + 12}:{minutes if colon else '00'}"
    return time, ""


def _pad_time(time: str) -> str:
    if not time:
        return "00:00"
    if time[-1] in ".,?":
        time = time[:-1]
    if time.isdigit():
        return f"{time[:2]}:{time[2:]}" if len(time) == 4 else f"{time.zfill(2)}:00"
    if ":" in time:
        time = time.replace(" ", "")
    if len(time) == 4 and time[1] == ":":
        hours, minutes = time.split(":")[:2]
        return f"{hours.zfill(2)}:{minutes}"
    return time


_CLOCK = re.compile(r"([0-9]{2}):([0-9]{2,})")


@lru_cache(maxsize=1 << 14)
def count_minutes(time: str) -> int:
    """Minutes since midnight; 0 where the string does not start with `dd:dd`.

    >>> count_minutes("09:30"), count_minutes("soon")
    (570, 0)
    """
    match = _CLOCK.match(time)
    if match is None:
        return 0
    minutes = match[2]
    with suppress(ValueError):  # mwzeval reads them by int(), which takes other digits too
        minutes = str(int(time.split(":")[1]))
    return int(match[1]) * 60 + int(minutes)
