"""Belief states in one form, and the domains a dialogue is about, estimated from them.

Source: evaluation spec, sections 2 and 4.
"""

from collections.abc import Mapping, Sequence

from trainable.dialogue.dialogue import State
from trainable.dialogue.values import normalise_slot, normalise_value


def normalise_state(state: State) -> dict[str, dict[str, str]]:
    """A new state with slot names and values in their one form; domains stay as they are.

    >>> normalise_state({"train": {"leave At": "5 pm"}})
    {'train': {'leave': '17:00'}}
    """
    return {domain: _normalise_slots(slots) for domain, slots in state.items()}


def _normalise_slots(slots: Mapping[str, str]) -> dict[str, str]:
    normalised = {}
    for name, value in slots.items():
        slot = normalise_slot(name)
        normalised[slot] = normalise_value(slot, value)
    return normalised


def estimate_domains(states: Sequence[State]) -> list[tuple[str, ...]]:
    """The domain that each system turn is about (none or one), from the turns' states."""
    current: str | None = None
    previous: State = {}
    changed_before: list[str] = []
    active: list[tuple[str, ...]] = []
    for state in states:
        changed = [d for d, slots in state.items() if slots.items() - previous.get(d, {}).items()]
        if not changed and current is None:
            active.append(())
            continue  # as the spec has it: the previous state is not updated here
        current = _choose_domain(current, changed, changed_before, state)
        previous, changed_before = state, changed
        active.append((current,))
    return active


def _choose_domain(
    current: str | None, changed: list[str], changed_before: list[str], state: State
) -> str:
    if changed:
        if current in changed:
            return current
        return max(changed, key=lambda domain: len(state[domain]))
    assert current is not None
    if len(changed_before) > 1:
        others = [d for d in changed_before if d in state and d != current]
        return others[0] if others else current
    return current
