"""What a system does in its turn, by the corpus's annotation: one line, which a plan may hold."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Act = tuple[str, Sequence[tuple[str, str]]]  # what is done (`hotel inform`); slots and values

ASKED = "?"  # the value of a slot that is asked for
NOTHING = "none"  # the slot of an act that has none
# slots of acts as MultiWOZ 2.1 spells them -> as its states do
SLOTS = {
    **{"addr": "address", "adress": "address", "post": "postcode", "fee": "entrancefee"},
    **{"ticket": "price", "id": "trainid", "car": "type"},
}
# -> as placeholders are spelt, in MultiWOZ 2.2 or SpokenWOZ, where that differs
PLACEHOLDERS = {
    **{"price": ("price", "pricerange", "entrancefee"), "leave": ("leaveat",)},
    **{"arrive": ("arriveby",), "depart": ("departure",), "dest": ("destination",)},
    **{"day": ("day", "bookday"), "time": ("time", "booktime", "duration")},
    **{"people": ("people", "bookpeople"), "stay": ("stay", "bookstay"), "open": ("openhours",)},
    **{"trainid": ("trainid", "id"), "type": ("type", "car")},
}


def list_acts(annotation: Any) -> list[Act]:
    """MultiWOZ's `dialog_act` of a turn; nothing where it is something else, such as a text.

    >>> list_acts({"Hotel-Inform": [["Post", "cb1"]], "general-bye": [["none", "none"]]})
    [('hotel inform', [('postcode', 'cb1')]), ('general bye', [])]
    >>> list_acts("No Annotation")
    []
    """
    if not isinstance(annotation, Mapping):
        return []
    return [
        (str(name).lower().replace("-", " ", 1), [*map(read_pair, filter(has_slot, pairs or ()))])
        for name, pairs in annotation.items()
    ]


def has_slot(pair: Sequence[Any]) -> bool:
    return len(pair) > 1 and str(pair[0]).lower() != NOTHING


def read_pair(pair: Sequence[Any]) -> tuple[str, str]:
    slot = str(pair[0]).lower()
    return SLOTS.get(slot, slot), str(pair[1])


def spell_acts(acts: Iterable[Act], delexicalised: str) -> str:
    """The acts in one line; a slot that the reply gives is spelt as the placeholder there.

    >>> spell_acts([("hotel request", [("area", "?")]), ("hotel inform", [("price", "low")])],
    ...     "all are [pricerange] . in the [area] or elsewhere ?")
    'hotel request area ; hotel inform [pricerange]'
    """
    return " ; ".join(" ".join((act, *spell_slots(slots, delexicalised))) for act, slots in acts)


def spell_slots(slots: Iterable[tuple[str, str]], delexicalised: str) -> Iterable[str]:
    """Each once."""
    return dict.fromkeys(spell_slot(slot, value, delexicalised) for slot, value in slots)


def spell_slot(slot: str, value: str, delexicalised: str) -> str:
    spellings = () if value == ASKED else list_spellings(slot)
    return next((f"[{name}]" for name in spellings if f"[{name}]" in delexicalised), slot)


def list_spellings(slot: str) -> Sequence[str]:
    """What a placeholder of an act's slot may be called.

    >>> list_spellings("dest"), list_spellings("post"), list_spellings("area")
    (('destination',), ('postcode',), ('area',))
    """
    slot = SLOTS.get(slot, slot)
    return PLACEHOLDERS.get(slot, (slot,))
