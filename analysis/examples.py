"""Example dialogues: the same ones from several trials, beside what the corpus says."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from analysis.records import SweepRecords, TrialRecord
from trainable.dialogue.dialogue import Dialogue
from trainable.evaluation.predictions import Responses
from trainable.system.json_object import read_object
from trainable.trial import ConfigError


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What one trial answered."""

    trial: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Exchange:
    user: str | None  # None where the corpus is not at hand
    gold: str | None
    replies: tuple[Reply, ...]


@dataclass(frozen=True, kw_only=True)
class Example:
    dialogue: str
    outcomes: Mapping[str, str]  # trial -> see `tell_outcome`
    exchanges: tuple[Exchange, ...]


def read_responses(records: SweepRecords, trial: str) -> Responses:
    """The trial's latest generated dialogues; empty where there are none."""
    content = _read_json(records, trial, "responses.json")
    return {name: turns for name, turns in content.items() if _are_turns(turns)}


def _are_turns(value: Any) -> bool:
    """Whether a file that may be damaged tells a dialogue's turns there."""
    return isinstance(value, list) and all(isinstance(turn, Mapping) for turn in value)


def read_outcomes(records: SweepRecords, trial: str) -> dict[str, str]:
    """Dialogue -> how it went for the trial."""
    content = _read_json(records, trial, "dialogues.json")
    return {name: tell_outcome(d) for name, d in content.items() if isinstance(d, Mapping)}


def tell_outcome(counts: Mapping[str, Any]) -> str:
    """Whether the goal was reached; without goals the dialogue's part in the objective, if it has
    one.

    >>> tell_outcome({"inform": 1, "success": 0}), tell_outcome({"objective": [1.0, 4.0]})
    ('inform only', '0.25')
    """
    if "success" in counts:
        reached = "inform only" if counts.get("inform") else "neither"
        return "success" if counts["success"] else reached
    try:
        total, number = counts.get("objective") or (0.0, 0.0)
        return f"{total / number:.3g}" if number else ""
    except (TypeError, ValueError):  # damaged
        return ""


def _read_json(records: SweepRecords, trial: str, name: str) -> dict[str, Any]:
    try:
        return read_object(records.folder / "trials" / trial / name)
    except (OSError, ValueError):
        return {}


def read_corpus(trial: TrialRecord) -> dict[str, Dialogue]:
    """The dialogues of the trial's corpus by id; empty where the corpus cannot be had."""
    from trainable.corpus.load import load_corpus

    try:
        corpus = load_corpus(str(trial.config.get("corpus", "")))
    except (ConfigError, OSError):
        return {}
    return {d.id: d for split in corpus.splits.values() for d in split}


def choose_examples(
    trials: Mapping[str, tuple[SweepRecords, TrialRecord]], *, count: int
) -> list[Example]:
    """Dialogues that all those trials (by what they are called here) were scored on, those with
    different outcomes first."""
    said = {name: read_responses(sweep, trial.id) for name, (sweep, trial) in trials.items()}
    responses = {name: dialogues for name, dialogues in said.items() if dialogues}
    if not responses:
        return []
    outcomes = {name: read_outcomes(trials[name][0], trials[name][1].id) for name in responses}
    common = set.intersection(*(set(r) for r in responses.values()))
    ranked = sorted(common, key=lambda d: (-len({o.get(d) for o in outcomes.values()}), d))
    _, first = next(iter(trials.values()))
    corpus = read_corpus(first) if ranked else {}
    lexical = first.config.get("response") == "lexicalised"
    return [
        Example(
            dialogue=name,
            outcomes={trial: outcomes[trial].get(name, "") for trial in responses},
            exchanges=line_up(responses, name, corpus.get(name), lexical),
        )
        for name in ranked[:count]
    ]


def line_up(
    responses: Mapping[str, Responses], name: str, dialogue: Dialogue | None, lexical: bool
) -> tuple[Exchange, ...]:
    turns = dialogue.turns if dialogue else ()
    length = max(len(r[name]) for r in responses.values())
    exchanges = []
    for i in range(length):
        turn = turns[i] if i < len(turns) else None
        replies = tuple(
            Reply(trial=trial, text=str(r[name][i].get("response", "")))
            for trial, r in responses.items()
            if i < len(r[name])
        )
        gold = None if turn is None else turn.response if lexical else turn.delexicalised
        exchanges.append(Exchange(user=turn.user if turn else None, gold=gold, replies=replies))
    return tuple(exchanges)


def take_replies(responses: Responses) -> list[list[str]]:
    """The generated replies, dialogue by dialogue."""
    return [[str(turn.get("response", "")) for turn in turns] for turns in responses.values()]
