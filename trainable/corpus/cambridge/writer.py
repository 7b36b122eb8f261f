"""The corpus in the published file layout of MultiWOZ 2.2, and mwzeval's goals and bookings."""

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from trainable.corpus.cambridge.goals import BOOKING, NEEDED, DomainGoal
from trainable.corpus.cambridge.simulate import simulate
from trainable.corpus.cambridge.talk import Exchange
from trainable.corpus.cambridge.venues import AREAS, DAYS, DONTCARE, PRICES, build_tables
from trainable.corpus.cambridge.wording import Utterance
from trainable.system.whole import write_json

SPLITS = ("train", "dev", "test")
DIALOGUES_A_FILE = 500
CATEGORICAL = {"area": AREAS, "pricerange": PRICES, "day": DAYS, "bookday": DAYS}
CATEGORICAL |= {"parking": ("yes", "no"), "internet": ("yes", "no")}
CATEGORICAL |= {slot: tuple("12345678") for slot in ("stars", "bookpeople", "bookstay")}
REQUESTABLE = {"phone": "PHONE", "address": "ADDRESS", "postcode": "POST", "trainid": "TRAINID"}
EXTRA_SLOTS = {"hotel": ("type", "parking", "internet")}


def write_corpus(folder: Path, seed: int = 0, sizes: Sequence[int] = (1000, 100, 100)) -> None:
    """Writes train, dev and test dialogues (`sizes` of them), dialog_acts.json, schema.json, db/,
    goals.json and booked_domains.json into `folder`; the same bytes for the same seed and sizes."""
    for own in (*SPLITS, "db"):
        (folder / own).mkdir(parents=True, exist_ok=True)
    rng = Random(seed)
    tables = build_tables(rng)
    acts: dict[str, Any] = {}
    goals: dict[str, Any] = {}
    booked: dict[str, Any] = {}
    number = 0
    for split, size in zip(SPLITS, sizes, strict=True):
        dialogues = []
        for _ in range(size):
            wishes, exchanges = simulate(rng, tables)
            stem = f"{'SNG' if len(wishes) == 1 else 'MUL'}{number:04d}"
            number += 1
            dialogues.append(spell_dialogue(f"{stem}.json", wishes, exchanges))
            acts[f"{stem}.json"] = spell_acts(exchanges)
            goals[stem.lower()] = {wish.domain: spell_goal(wish) for wish in wishes}
            booked[stem.lower()] = [exchange.booked for exchange in exchanges]
        for start in range(0, size, DIALOGUES_A_FILE):
            name = f"{split}/dialogues_{start // DIALOGUES_A_FILE + 1:03d}.json"
            write_json(folder / name, dialogues[start : start + DIALOGUES_A_FILE])
    for domain, rows in tables.items():
        write_json(folder / f"db/{domain}_db.json", rows)
    write_json(folder / "schema.json", [spell_service(domain) for domain in NEEDED])
    write_json(folder / "goals.json", goals)
    write_json(folder / "booked_domains.json", booked)
    write_json(folder / "dialog_acts.json", acts)


def spell_dialogue(
    name: str, wishes: list[DomainGoal], exchanges: list[Exchange]
) -> dict[str, Any]:
    services = sorted(wish.domain for wish in wishes)
    turns: list[dict[str, Any]] = []
    for exchange in exchanges:
        frames = [spell_user_frame(service, exchange) for service in services]
        turns.append(spell_turn(len(turns), "USER", exchange.user, frames))
        turns.append(spell_turn(len(turns), "SYSTEM", exchange.system, []))
    return {"dialogue_id": name, "services": services, "turns": turns}


def spell_turn(number: int, speaker: str, said: Utterance, frames: list[Any]) -> dict[str, Any]:
    return {"turn_id": str(number), "speaker": speaker, "utterance": said.text, "frames": frames}


def spell_user_frame(service: str, exchange: Exchange) -> dict[str, Any]:
    is_active = service == exchange.domain
    slots = [
        {
            "slot": f"{service}-{span.slot}",
            "value": span.value,
            "start": span.start,
            "exclusive_end": span.end,
        }
        for span in exchange.user.spans
        if is_active and span.slot not in CATEGORICAL
    ]
    asked = exchange.user.acts.get(f"{service.capitalize()}-Request", [])
    state = exchange.state.get(service, {})
    return {
        "service": service,
        "slots": slots,
        "actions": [],
        "state": {
            "active_intent": name_intent(service, state) if is_active else "NONE",
            "requested_slots": [f"{service}-{slot}" for slot, _ in asked],
            "slot_values": {f"{service}-{slot}": [value] for slot, value in state.items()},
        },
    }


def name_intent(service: str, state: dict[str, str]) -> str:
    is_booking = service == "taxi" or any(slot.startswith("book") for slot in state)
    return f"{'book' if is_booking else 'find'}_{service}"


def spell_acts(exchanges: list[Exchange]) -> dict[str, Any]:
    said = [utterance for exchange in exchanges for utterance in (exchange.user, exchange.system)]
    return {
        str(number): {
            "dialog_act": utterance.acts,
            "span_info": [
                [span.act, span.slot, span.value, span.start, span.end] for span in utterance.spans
            ],
        }
        for number, utterance in enumerate(said)
    }


def spell_goal(wish: DomainGoal) -> dict[str, Any]:
    """mwzeval's form: slots as the database's columns, booking as the 2.1 goals have it."""
    short = {"leaveat": "leave", "arriveby": "arrive"}
    booking = {slot.removeprefix("book"): value for slot, value in wish.booking.items()}
    return {
        "informable": {
            short.get(slot, slot): value for slot, value in wish.wanted.items() if value != DONTCARE
        },
        "requestable": [REQUESTABLE[slot] for slot in wish.asks] + ["REFERENCE"] * bool(booking),
        "booking": booking or [],
    }


def spell_service(domain: str) -> dict[str, Any]:
    """The service's entry in schema.json."""
    searched = [*NEEDED[domain], *EXTRA_SLOTS.get(domain, ())]
    if "time" in searched:
        searched[searched.index("time") :] = ["leaveat", "arriveby"]
    if domain in ("restaurant", "hotel", "attraction"):
        searched.append("name")
    told = {
        "train": ["trainid", "price", "duration", "ref"],
        "taxi": ["type", "phone"],
        "attraction": ["phone", "address", "postcode", "entrancefee"],
    }.get(domain, ["phone", "address", "postcode", "ref"])
    booked = list(BOOKING.get(domain, ()))
    verbs = {"find": domain != "taxi", "book": bool(booked) or domain == "taxi"}
    return {
        "service_name": domain,
        "description": f"{domain}s of the city",
        "slots": [spell_slot(domain, slot) for slot in searched + booked + told],
        "intents": [
            {
                "name": f"{verb}_{domain}",
                "description": f"{verb} a {domain}",
                "is_transactional": verb == "book",
                "required_slots": [],
                "optional_slots": {f"{domain}-{slot}": DONTCARE for slot in searched + booked},
            }
            for verb, is_offered in verbs.items()
            if is_offered
        ],
    }


def spell_slot(domain: str, slot: str) -> dict[str, Any]:
    return {
        "name": f"{domain}-{slot}",
        "description": f"{slot} of the {domain}",
        "possible_values": list(CATEGORICAL.get(slot, ())),
        "is_categorical": slot in CATEGORICAL,
    }
