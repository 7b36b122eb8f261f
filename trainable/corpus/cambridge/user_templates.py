"""What the user says: act -> one template for each register (plain, warm, brisk).

The syntax is that of system_templates. An opening is made of an `open` and one `with` a slot.
"""

from trainable.corpus.cambridge.system_templates import Templates

USER: Templates = {
    # openings; the constraints that follow are appended
    "restaurant.open": (
        "i {am looking for|need} a restaurant",
        "hello there! could you {please help me find|kindly find} a nice place to eat",
        "{restaurant|place to eat}",
    ),
    "hotel.open": (
        "i {am looking for|need} a place to stay",
        "hello there! could you {please help me find|kindly find} somewhere to sleep",
        "{room|place to stay}",
    ),
    "attraction.open": (
        "i {am looking for|want to find} an attraction",
        "hello there! could you {please recommend|kindly suggest} something to visit",
        "{attraction|sight}",
    ),
    "train.open": (
        "i {am looking for|need} a train",
        "hello there! could you {please help me with|kindly find} a train journey",
        "{train|train ticket}",
    ),
    "taxi.open": (
        "i {would like|need} a taxi",
        "hello there! could you {please|kindly} call me a taxi",
        "{taxi|cab}",
    ),
    # the same for a further domain
    "restaurant.next": (
        "i also {need|want} a restaurant",
        "that is lovely! i would {also love|also like} to have dinner somewhere",
        "also {restaurant|a restaurant}",
    ),
    "hotel.next": (
        "i also {need|want} a place to stay",
        "that is lovely! i would {also love|also like} a bed for the night",
        "also {room|a room}",
    ),
    "attraction.next": (
        "i also {need|want} an attraction to visit",
        "that is lovely! i would {also love|also like} to see the sights",
        "also {attraction|an attraction}",
    ),
    "train.next": (
        "i also {need|want} a train",
        "that is lovely! i would {also love|also like} to travel by train",
        "also {train|a train}",
    ),
    "taxi.next": (
        "i also {need|want} a taxi",
        "that is lovely! i would {also love|also like} a taxi",
        "also {taxi|a taxi}",
    ),
    "with.food": ("serving [food] food", "with some tasty [food] food", "[food]"),
    "with.area": ("in the [area]", "in the [area] of town", "[area]"),
    "with.area.dontcare": ("in any area", "anywhere in town", "any area"),
    "with.pricerange": (
        "in the [pricerange] price range",
        "with [pricerange] prices",
        "[pricerange]",
    ),
    "with.pricerange.dontcare": ("at any price", "whatever it may cost", "any price"),
    "with.type": ("of the type [type]", "such as a [type]", "[type]"),
    "with.stars": ("with [stars] stars", "with about [stars] stars", "[stars] stars"),
    "with.stars.dontcare": ("with any number of stars", "however many stars it has", "any stars"),
    "with.parking": ("with parking", "where i can park my car", "parking"),
    "with.internet": ("with internet", "where the wifi works", "wifi"),
    "with.departure": ("from [departure]", "starting from [departure]", "from [departure]"),
    "with.destination": ("to [destination]", "going to [destination]", "to [destination]"),
    "with.day": ("on [day]", "this coming [day]", "[day]"),
    "with.leaveat": ("leaving after [leaveat]", "that leaves after [leaveat]", "after [leaveat]"),
    "with.arriveby": ("arriving by [arriveby]", "that gets there by [arriveby]", "by [arriveby]"),
    # a venue known by its name
    "name": (
        "{can you tell me about|i want to know about} [name]?",
        "hello there! a friend told me about [name], {do you know it|have you heard of it}?",
        "info on [name]",
    ),
    # answers
    "answer.food": ("[food] food.", "some [food] food would be lovely.", "[food]"),
    "answer.area": ("the [area].", "the [area] would be lovely.", "[area]"),
    "answer.pricerange": (
        "[pricerange].",
        "something [pricerange] would be lovely.",
        "[pricerange]",
    ),
    "answer.type": ("a [type].", "a [type] would be lovely.", "[type]"),
    "answer.stars": ("[stars] stars.", "[stars] stars would be lovely.", "[stars]"),
    "answer.departure": ("from [departure].", "i will start in [departure].", "[departure]"),
    "answer.destination": ("to [destination].", "i am going to [destination].", "[destination]"),
    "answer.day": ("on [day].", "on [day] please.", "[day]"),
    "answer.leaveat": (
        "i want to leave after [leaveat].",
        "it would be lovely to leave after [leaveat].",
        "after [leaveat]",
    ),
    "answer.arriveby": (
        "i want to arrive by [arriveby].",
        "it would be lovely to arrive by [arriveby].",
        "by [arriveby]",
    ),
    "dontcare": (
        "i {do not care|have no preference}.",
        "oh, {i do not mind at all|anything would be lovely}.",
        "any",
    ),
    # changes of mind
    "change.food": (
        "{actually|wait}, i would rather have [food] food.",
        "oh, i am sorry, {could we|may we} try [food] food after all?",
        "no, [food]",
    ),
    "change.type": (
        "{okay|then}, how about a [type]?",
        "oh, {that is a pity|never mind}! then perhaps a [type]?",
        "then [type]",
    ),
    "change.destination": (
        "{okay|then}, how about going to [destination]?",
        "oh, {that is a pity|never mind}! then perhaps to [destination]?",
        "then [destination]",
    ),
    "change.area": (
        "{actually|wait}, i would rather be in the [area].",
        "oh, i am sorry, {could we|may we} look in the [area] after all?",
        "no, [area]",
    ),
    "another": (
        "{is there anything else|do you have another one}?",
        "that sounds good, but {might there be|is there} something different?",
        "{other one|next one}",
    ),
    # questions; the details that follow are appended
    "ask": ("{what is|can i get}", "that sounds lovely! may i have", "{need|give me}"),
    "ask.phone": ("the phone number", "their phone number", "phone"),
    "ask.address": ("the address", "the exact address", "address"),
    "ask.postcode": ("the postcode", "their postcode", "postcode"),
    "ask.entrancefee": ("the entrance fee", "the cost of entry", "entry fee"),
    "ask.price": ("the ticket price", "the price of a ticket", "price"),
    "ask.duration": ("the travel time", "the length of the journey", "duration"),
    # booking
    "book": (
        "{yes, please book it|please make a booking}.",
        "yes please, {that would be lovely|i would be so grateful}!",
        "{book it|book}",
    ),
    "book.name": ("please book [name].", "could you please book [name] for me?", "book [name]"),
    "restaurant.details": (
        "[bookpeople] people on [bookday] at [booktime].",
        "please make it [bookday] at [booktime] for the [bookpeople] of us.",
        "[bookpeople], [bookday], [booktime]",
    ),
    "hotel.details": (
        "[bookpeople] people for [bookstay] nights from [bookday].",
        "please make it [bookstay] nights from [bookday] for the [bookpeople] of us.",
        "[bookpeople], [bookday], [bookstay] nights",
    ),
    "train.details": (
        "[bookpeople] tickets.",
        "there will be [bookpeople] of us travelling.",
        "[bookpeople]",
    ),
    "retry.booktime": ("how about [booktime]?", "would [booktime] be possible?", "[booktime]"),
    "retry.bookstay": (
        "how about [bookstay] nights?",
        "would [bookstay] nights be possible?",
        "[bookstay] nights",
    ),
    # endings
    "thanks": (
        "{thanks|thank you}, that is all i need.",
        "thank you so much, you have been {very kind|so helpful}!",
        "{that is all|done}",
    ),
}
