"""The verdict in sentences."""

from collections.abc import Sequence

from analysis.labels import count_points, count_things, enumerate_texts, format_score
from analysis.standing import DIALOGUES
from analysis.verdict import MARGIN, MORE_TRIALS, Choice, Verdict, find_margin
from trainable.result import OBJECTIVE

MOST = 5  # choices named; of more, the others are counted
SMALLEST_GAIN = 0.5  # points (see `count_points`) that are told
ONE_BY_ONE = 4  # of those behind, each with its own interval


def state(verdict: Verdict) -> list[str]:
    """The answer first, then what it rests on, then what would be gained by more."""
    sentences = [_answer(verdict), *_ask_for_seeds(verdict), *_rest_on(verdict)]
    sentences += _name_chances(verdict)
    return [s for s in sentences if s]


def _answer(verdict: Verdict) -> str:
    first, *rest = verdict.choices
    if not rest:
        return _say_alone(verdict, first)
    if not verdict.is_settled:
        return _say_unsettled(verdict)
    if verdict.has_best and not _list_unknown(verdict):
        word = "is best" if verdict.turns else "is ahead"
        return f"{first.name} {word}: {_say_behind(rest)}."
    equal = [c for c in rest if c.is_equivalent]
    open_ = [c for c in rest if c.is_behind is False and not c.is_equivalent]
    parts = []
    if equal:
        within = f"{find_margin(first.entry):.{0 if first.entry.digits == 1 else 3}f}"
        within = f"{MARGIN:.0f}" if first.entry.objective == OBJECTIVE else within
        parts.append(f"{_join([first, *equal])} are level, within {within} points")
    if open_:
        against = "them" if equal else first.name
        what = "these seeds" if verdict.turns else "these dialogues"
        parts.append(f"{_join(open_)} cannot be told apart from {against} with {what}")
    if behind := [c for c in rest if c.is_behind and not c.is_equivalent]:
        parts.append(_say_behind(behind) + ("" if equal or open_ else f" {first.name}"))
    if unknown := _list_unknown(verdict):
        parts.append(f"{_join(unknown)} {_be(unknown)} not compared, having one seed")
    return "; ".join(parts) + "."


def _list_unknown(verdict: Verdict) -> list[Choice]:
    return [c for c in verdict.choices[1:] if c.is_behind is None]


def _say_alone(verdict: Verdict, first: Choice) -> str:
    what = verdict.asked or "configuration"
    where = f"trained to the end ({verdict.turns:,} turns)" if verdict.turns else "tried"
    stopped = f"; {_join(verdict.others)} {_be(verdict.others)} not" if verdict.others else ""
    return f"Only one {what}, {first.name}, was {where}{stopped}: nothing compares with it."


def _say_unsettled(verdict: Verdict) -> str:
    first, *rest = verdict.choices
    seeds = [len(c.entry.trials) for c in verdict.choices]
    kind = f"the values of {verdict.asked}" if verdict.asked else "trials"
    few = "One seed each" if max(seeds) == 1 else "Too few have two seeds"
    listed = [f"{c.name} ({_show(c)})" for c in rest[: MOST - 1]]
    more = [f"{len(rest) - MOST + 1} more"] if len(rest) >= MOST else []
    best = "highest" if first.entry.evals[0].sign > 0 else "lowest"
    return (
        f"{few}: {kind} cannot be told apart. The {best} is {first.name} "
        f"({_show(first)}), then {enumerate_texts([*listed, *more])}."
    )


def _ask_for_seeds(verdict: Verdict) -> list[str]:
    if verdict.is_settled or len(verdict.choices) < 2:
        return []
    return [
        "One seed does not show how far another would move a score, so no probability is given: "
        "--seeds 3 would tell, or --confirm 3 for the first three alone."
    ]


def _show(choice: Choice) -> str:
    return format_score(choice.entry.value, choice.entry.objective)


def _say_behind(choices: Sequence[Choice]) -> str:
    """`attention is 0.1 to 3.6 and qv 7.9 to 11.8 points behind`"""
    gaps, digits = [c.gap or (0.0, 0.0) for c in choices], choices[0].entry.digits
    if len(choices) > ONE_BY_ONE:
        low, high = min(-g[1] for g in gaps), max(-g[0] for g in gaps)
        return f"{_join(choices)} are {low:.{digits}f} to {high:.{digits}f} points behind"
    spans = [f"{-high:.{digits}f} to {-low:.{digits}f}" for low, high in gaps]
    told = [f"{choices[0].name} is {spans[0]}"]
    told += [f"{c.name} {span}" for c, span in zip(choices[1:], spans[1:], strict=True)]
    return f"{enumerate_texts(told)} points behind"


def _rest_on(verdict: Verdict) -> list[str]:
    where = f"Scored on {count_things(verdict.n_dialogues, 'dialogue')}"
    if not verdict.turns:
        line = f"{where}; nothing was trained"
    else:
        line = f"{where} after {verdict.turns:,} turns, {_count_seeds(verdict)}"
    lines = [f"{line}."]
    if verdict.holds:
        noise = f"{verdict.holds} alone" if verdict.holds == DIALOGUES else verdict.holds
        adjusted = "as if all had the same seeds, and " if verdict.is_adjusted else ""
        count = f"{verdict.n_compared} compared at once"
        corrected = f"; differences are {adjusted}corrected for {count}"
        corrected = corrected if verdict.is_settled and verdict.n_compared > 2 else ""
        lines.append(f"± and intervals are at 95 % and cover the noise of {noise}{corrected}.")
    if verdict.others and len(verdict.choices) > 1:
        lines.append(
            f"Stopped before the end: {_join(verdict.others)}; their distance is from what the "
            "first had after as many turns."
        )
    return lines


def _count_seeds(verdict: Verdict) -> str:
    """`3 fresh seeds each`"""
    fewest, most = verdict.n_seeds
    if most == 1:
        return "one seed each" if len(verdict.choices) > 1 else "one seed"
    count = f"{fewest}" if fewest == most else f"{fewest} to {most}"
    fresh = " fresh" if verdict.choices[0].entry.is_confirmed else ""
    return f"{count}{fresh} seeds{' each' if len(verdict.choices) > 1 else ''}"


def _name_chances(verdict: Verdict) -> list[str]:
    known = [c for c in verdict.choices if c.chance is not None]
    if len(known) < 2:
        return []
    entry, gain = verdict.choices[0].entry, verdict.expected_gain
    best, change = ("highest", "raise") if entry.evals[0].sign > 0 else ("lowest", "lower")
    lines = [f"P(best): the probability that the true score is the {best} of all."]
    if gain is not None:
        least = SMALLEST_GAIN * count_points(entry.objective, entry.value or 0.0)
        points = f"{gain:.{entry.digits}f} points" if gain >= least else "less than half a point"
        lines.append(
            f"{MORE_TRIALS} more trials can be expected to {change} the {best} true score by "
            f"{points}."
        )
    return lines


def _join(choices: Sequence[Choice]) -> str:
    names = [c.name for c in choices]
    if len(names) > MOST:
        names = [*names[: MOST - 1], f"{len(names) - MOST + 1} others"]
    return enumerate_texts(names)


def _be(choices: Sequence[Choice]) -> str:
    return "is" if len(choices) == 1 else "are"
