"""Does the model want to be told what to do? Instruction lines by what the prompt shows."""

from optuna.distributions import CategoricalDistribution

from search_spaces.space import Space

INSTRUCTIONS = (
    None,
    "Answer the user of a travel information desk.",
    "You are the system in a task-oriented dialogue: help the user find and book places, and "
    "write every name, number and address as a placeholder in brackets.",
)
CONTEXTS = ("history", "history+state", "history+state+db")

SPACE = Space(
    name="instruction",
    question="Do an instruction, the belief state and the number of matches in the prompt help?",
    searched={
        "instruction": CategoricalDistribution(INSTRUCTIONS),
        "context": CategoricalDistribution(CONTEXTS),
    },
    first=tuple(  # the lab's own setting, without either, is the first
        {"instruction": instruction, "context": context}
        for context in CONTEXTS
        for instruction in INSTRUCTIONS
    ),
)
