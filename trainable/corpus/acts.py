"""What a system does in its turn, by the corpus's annotation: one line, which a plan may hold."""

from collections.abc import Iterable, Mapping, Sequence

Act = tuple[str, Sequence[str]]  # what is done, such as `hotel inform`; slots it is done with

# slots of acts as MultiWOZ 2.1 spells them -> as its states do
SLOTS = {"addr": "address", "post": "postcode", "fee": "entrancefee", "ticket": "price"}
SLOTS |= {"id": "trainid", "car": "type"}
# -> as placeholders of MultiWOZ 2.2 are spelt, where that differs
PLACEHOLDERS = {
    **{"price": ("price", "pricerange", "entrancefee"), "leave": ("leaveat",)},
    **{"arrive": ("arriveby",), "depart": ("departure",), "dest": ("destination",)},
    **{"day": ("day", "bookday"), "time": ("time", "booktime", "duration")},
    **{"people": ("people", "bookpeople"), "stay": ("stay", "bookstay"), "open": ("openhours",)},
}


def list_acts(annotation: Mapping[str, Sequence[Sequence[str]]]) -> list[Act]:
    """MultiWOZ's `dialog_act` of a turn.

    >>> list_acts({"Hotel-Inform": [["Post", "cb1"]], "general-bye": [["none", "none"]]})
    [('hotel inform', ['postcode']), ('general bye', [])]
    """
    found: list[Act] = []
    for name, pairs in annotation.items():
        slots = dict.fromkeys(pair[0].lower() for pair in pairs)
        known = [SLOTS.get(slot, slot) for slot in slots if slot != "none"]
        found.append((name.lower().replace("-", " ", 1), known))
    return found


def spell_acts(acts: Iterable[Act], delexicalised: str) -> str:
    """The acts in one line; a slot that the reply gives is spelt as the placeholder there.

    >>> spell_acts([("hotel request", ["area"]), ("hotel inform", ["choice", "price"])],
    ...     "[choice] of them are [pricerange] . which area ?")
    'hotel request area ; hotel inform [choice] [pricerange]'
    """
    return " ; ".join(
        " ".join((act, *(spell_slot(slot, delexicalised) for slot in slots))) for act, slots in acts
    )


def spell_slot(slot: str, delexicalised: str) -> str:
    spellings = (f"[{name}]" for name in PLACEHOLDERS.get(slot, (slot,)))
    return next((each for each in spellings if each in delexicalised), slot)
