"""The slot names that delexicalised responses use, and the one canonical name each stands for.

Source: evaluation spec, section 1; the vocabulary of Nekvinda & Dušek (2021), "Shades of BLEU,
Flavours of Success", which unifies what MultiWOZ's systems write.
"""

import re

# canonical name -> the slot names that stand for it
_NAMES: dict[str, str] = {
    "ADDRESS": "address, value_address, attraction_address, hospital_address, hotel_address, "
    "police_address, restaurant_address",
    "AREA": "area, value_area, attraction_area, restaurant_area, hotel_area",
    "TIME": "booktime, time, value_time, duration, value_duration, train_duration, arriveby, "
    "arrive by, value_arrive, leaveat, leave at, value_leave, train_arriveby, train_leaveat, "
    "train_leave, train_arrive, taxi_arriveby, taxi_leaveat",
    "DAY": "day, value_day, bookday, train_day",
    "PLACE": "destination, departure, value_destination, value_departure, value_place, "
    "train_departure, train_destination, taxi_departure, taxi_destination",
    "FOOD": "food, value_food, restaurant_food",
    "NAME": "name, value_name, attraction_name, hospital_name, hotel_name, police_name, "
    "restaurant_name",
    "PHONE": "phone, value_phone, attraction_phone, hospital_phone, hotel_phone, police_phone, "
    "restaurant_phone, taxi_phone",
    "POST": "postcode, value_postcode, attraction_postcode, hospital_postcode, hotel_postcode, "
    "restaurant_postcode, police_postcode",
    "PRICE": "price, value_price, entrancefee, entrance fee, pricerange, price range, "
    "value_pricerange, train_price, attraction_entrancefee, attraction_pricerange, "
    "attraction_price, restaurant_pricerange, hotel_pricerange",
    "REFERENCE": "ref, reference, value_reference, attraction_reference, hotel_reference, "
    "restaurant_reference, train_reference",
    "COUNT": "stars, value_stars, hotel_stars, bookstay, stay, value_stay, bookpeople, people, "
    "value_people, choice, value_choice, value_count, attraction_choice, hotel_choice, "
    "restaurant_choice, train_choice",
    "TYPE": "type, value_type, car, value_car, taxi_type, taxi_car, restaurant_type, hotel_type, "
    "attraction_type",
    "TRAINID": "trainid, train_id, value_id, id, train, train_trainid",
    "INTERNET": "internet, hotel_internet",
    "PARKING": "parking, hotel_parking",
    "ID": "hospital_id, attraction_id, restaurant_id",
    "DEPARTMENT": "department, value_department, hospital_department",
    "OPEN": "openhours",
}

PLACEHOLDER = re.compile(r"\[([\w\s]+)\]")
DOMAIN = re.compile(r"^(value|attraction|hospital|hotel|police|restaurant|taxi|train)_")

# slot name, lower case -> canonical name, upper case
CANONICAL: dict[str, str] = {
    name: canonical for canonical, names in _NAMES.items() for name in names.split(", ")
}


def is_known(slot: str) -> bool:
    """Whether a slot name, in any case, has a canonical one.

    >>> is_known("hotel_name"), is_known("hotel_mascot")
    (True, False)
    """
    return slot.lower() in CANONICAL


def find_slot(spelling: str) -> str | None:
    """The slot name that another spelling means; None: none.

    >>> find_slot("Hotel-Name"), find_slot("value name"), find_slot("hotel_food"), find_slot("unk")
    ('hotel_name', 'value_name', 'food', None)
    """
    words = re.sub(r"[\W_]+", "_", spelling.lower()).strip("_")
    others = words.replace("_", " "), words.replace("_", ""), words.removesuffix("s")
    for name in (words, *others, DOMAIN.sub("", words)):
        if name in CANONICAL:
            return name
    return None
