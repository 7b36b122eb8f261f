"""What the system says: act -> one template for each register of the user (plain, warm, brisk).

`[slot]` takes a value and becomes an annotated span; `{a|b}` is one of several wordings. The system
answers in the user's register, so a reply depends on the dialogue and not on the act alone.
"""

Templates = dict[str, tuple[str, str, str]]

SYSTEM: Templates = {
    # asking for what is missing
    "restaurant.request.food": (
        "what {kind of|type of} food would you like?",
        "{lovely|wonderful}! may i ask what food you are in the mood for?",
        "which food?",
    ),
    "restaurant.request.area": (
        "which {part of town|area} should the restaurant be in?",
        "{of course|with pleasure}! is there a part of town where you would like to eat?",
        "which area for the meal?",
    ),
    "restaurant.request.pricerange": (
        "{what price range|which price range} should the restaurant have?",
        "{happily|of course}! how much would you like to spend on your meal?",
        "price range of the restaurant?",
    ),
    "hotel.request.area": (
        "which {area|part of town} would you like to stay in?",
        "{i would be glad to help|with pleasure}! where in town would you like to sleep?",
        "area for the stay?",
    ),
    "hotel.request.pricerange": (
        "what price range {do you have in mind|would suit you} for the room?",
        "{of course|gladly}! may i ask about your budget for the room?",
        "room price?",
    ),
    "hotel.request.stars": (
        "how many stars should {it|the place} have?",
        "{thank you|perfect}! would you like a certain number of stars?",
        "how many stars?",
    ),
    "attraction.request.type": (
        "what {kind|type} of attraction {do you have in mind|would you like to see}?",
        "{how nice|lovely}! what sort of place would you enjoy visiting?",
        "what kind of place?",
    ),
    "attraction.request.area": (
        "is there a {part of town|area} you would like to visit?",
        "{sounds like fun|lovely}! where in town would you like to go?",
        "visit which area?",
    ),
    "train.request.destination": (
        "where {are you travelling to|would you like to go}?",
        "{my pleasure|of course}! may i ask where your journey ends?",
        "destination?",
    ),
    "train.request.departure": (
        "where will you {be departing from|leave from}?",
        "{my pleasure|thank you}! from which town does your journey start?",
        "leaving from?",
    ),
    "train.request.day": (
        "{what|which} day will you be travelling?",
        "{great|wonderful}! on which day would you like to travel?",
        "travel day?",
    ),
    "train.request.time": (
        "what time would you like to {leave or arrive|depart or arrive}?",
        "{great|thank you}! is there a time by which you wish to leave or arrive?",
        "train time?",
    ),
    "taxi.request.departure": (
        "where should the taxi {pick you up|collect you}?",
        "{of course|certainly}! where may the driver meet you?",
        "pick up where?",
    ),
    "taxi.request.destination": (
        "where {should the taxi take you|is the taxi going}?",
        "{of course|certainly}! where may the driver take you?",
        "drop off where?",
    ),
    "taxi.request.time": (
        "{what time|when} do you need the taxi?",
        "{certainly|of course}! at what time shall the driver come?",
        "taxi time?",
    ),
    # offering
    "restaurant.offer": (
        "[name] is a [pricerange] [food] restaurant in the [area]. {shall i book|should i reserve} "
        "a table?",
        "i {recommend|suggest} [name], a delightful [food] place in the [area] with [pricerange] "
        "prices. may i reserve a table for you?",
        "[choice] found. [name], [food], [area], [pricerange]. book it?",
    ),
    "hotel.offer": (
        "[name] is a [pricerange] [type] with [stars] stars in the [area]. would you like to "
        "{book|make a reservation}?",
        "i {recommend|suggest} [name], a charming [stars] star [type] in the [area]. it is "
        "[pricerange]. may i book a room for you?",
        "[choice] found. [name], [type], [area], [stars] stars. book it?",
    ),
    "attraction.offer": (
        "[name] is a [type] in the [area]. {would you like more information|do you need details}?",
        "you will {love|enjoy} [name], a beautiful [type] in the [area]! may i tell you more about "
        "it?",
        "[choice] found. [name], [type], [area]. details?",
    ),
    "train.offer": (
        "[trainid] leaves [departure] at [leaveat] and {arrives in|reaches} [destination] at "
        "[arriveby]. shall i book it?",
        "train [trainid] {would suit you|is perfect}: it departs at [leaveat] and brings you to "
        "[destination] by [arriveby]. may i book seats for you?",
        "[choice] trains. [trainid], [leaveat] to [arriveby]. book it?",
    ),
    "taxi.offer": (
        "{your taxi is booked|i booked your taxi}. it is a [type] and the contact number is "
        "[phone].",
        "{wonderful|all done}! a [type] will be waiting for you. you can reach the driver on "
        "[phone].",
        "done. [type], phone [phone].",
    ),
    "another": (
        "[name] is {another|a further} option. would you like that one?",
        "then {perhaps|maybe} [name] is more to your taste! shall we take that one?",
        "[name] then?",
    ),
    # nothing to offer
    "restaurant.none": (
        "{i am sorry|unfortunately}, there are no [food] restaurants. would you like another kind "
        "of food?",
        "i am {so|terribly} sorry, nobody cooks [food] food here. may i find you something else "
        "to eat?",
        "no [food] food. other food?",
    ),
    "attraction.none": (
        "{i am sorry|unfortunately}, there is no [type] in town. would you like to see something "
        "else?",
        "i am {so|terribly} sorry, we do not have a [type]. may i suggest a different kind of "
        "place?",
        "no [type]. other type?",
    ),
    "train.none": (
        "{i am sorry|unfortunately}, no train goes to [destination]. would you like to go "
        "elsewhere?",
        "i am {so|terribly} sorry, the railway does not reach [destination]. is there another "
        "town you would like?",
        "no trains to [destination]. other town?",
    ),
    # details
    "inform.phone": ("the phone number is [phone].", "you can call them on [phone].", "[phone]."),
    "inform.address": (
        "{it is located at|the address is} [address].",
        "you will find it at [address].",
        "[address].",
    ),
    "inform.postcode": (
        "the postcode is [postcode].",
        "its postcode is [postcode].",
        "[postcode].",
    ),
    "inform.entrancefee": (
        "the entrance fee is [entrancefee].",
        "getting in costs [entrancefee].",
        "entry [entrancefee].",
    ),
    "inform.price": ("a ticket costs [price].", "your ticket would be [price].", "[price]."),
    "inform.duration": (
        "the {journey|trip} takes [duration].",
        "you will be on board for [duration].",
        "[duration].",
    ),
    # booking
    "restaurant.book": (
        "for how many people, {what|which} day and what time?",
        "{with pleasure|gladly}! how many guests are coming, on which day and when?",
        "people, day, time?",
    ),
    "hotel.book": (
        "for how many people, from {what|which} day and how many nights?",
        "{with pleasure|gladly}! how many guests will stay, from which day and for how long?",
        "people, day, nights?",
    ),
    "train.book": (
        "how many tickets {do you need|would you like}?",
        "{with pleasure|gladly}! for how many passengers may i book?",
        "how many seats?",
    ),
    "restaurant.booked": (
        "your table {is booked|has been reserved}. the reference number is [ref].",
        "{wonderful|great news}, your table for [bookpeople] at [booktime] is waiting for you! "
        "please keep the reference [ref].",
        "table booked. ref [ref].",
    ),
    "hotel.booked": (
        "your room {is booked|has been reserved}. the reference number is [ref].",
        "{wonderful|great news}, [bookstay] nights from [bookday] are arranged! please keep the "
        "reference [ref].",
        "room booked. ref [ref].",
    ),
    "train.booked": (
        "your tickets {are booked|have been reserved}. the reference number is [ref].",
        "{wonderful|great news}, your seats are reserved! please keep the reference [ref] for the "
        "journey.",
        "seats booked. ref [ref].",
    ),
    "restaurant.failed": (
        "{i am sorry|unfortunately}, there is no table at [booktime]. would another time work?",
        "i am {so|terribly} sorry, they do not serve guests at [booktime]. could you come earlier?",
        "no table at [booktime]. earlier?",
    ),
    "hotel.failed": (
        "{i am sorry|unfortunately}, [bookstay] nights are too many. would a shorter stay work?",
        "i am {so|terribly} sorry, they cannot host you for [bookstay] nights. could you stay for "
        "less?",
        "no room for [bookstay] nights. shorter?",
    ),
    # general
    "more": (
        "{can i help with|is there} anything else?",
        "what else may i do {for you|to help}?",
        "anything else?",
    ),
    "bye": (
        "thank you for using our {service|system}. goodbye.",
        "it was a pleasure to help you! have a {wonderful|lovely} day in cambridge!",
        "{bye|goodbye}.",
    ),
}
