"""The standard MultiWOZ evaluation of one set of dialogues, any number of times.

Source: the evaluation spec, after Nekvinda & Dušek (2021), arXiv 2106.05555; what each number
means stands with the module that computes it.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from trainable.dialogue.database import Database
from trainable.dialogue.dialogue import Dialogue, State
from trainable.evaluation import bleu, bootstrap, dst
from trainable.evaluation.bootstrap import Interval
from trainable.evaluation.inform_success import Outcome, SystemTurn, judge
from trainable.evaluation.normalise import normalise_response
from trainable.evaluation.placeholders import measure_placeholders
from trainable.evaluation.predictions import Responses, check_responses
from trainable.evaluation.rates import TOTAL, measure_rates
from trainable.evaluation.richness import measure_richness
from trainable.evaluation.states import estimate_domains, normalise_state
from trainable.result import ReplyScores
from trainable.system.garbage import pause_collection
from trainable.trial import ConfigError

States = Literal["gold", "predicted"]
_Outcomes = list[tuple[Outcome, Outcome | None]]
BOARDS = {"gold": "policy optimisation", "predicted": "end-to-end"}


@dataclass(frozen=True, kw_only=True)
class Scores(ReplyScores):
    """With what stands behind the figures: by domain and by dialogue."""

    bleu: float  # always measured
    per_domain: dict[str, dict[str, float]]  # "inform" and "success": goal domain -> rate
    domain_intervals: dict[str, dict[str, Interval]]  # the same, 95 % over dialogues
    # dialogue id -> {"inform": 0|1, "success": 0|1,
    #                 "bleu": [4 n-gram matches, 4 n-gram totals, hypothesis, reference tokens]}
    dialogues: dict[str, dict[str, Any]]

    @property
    def board(self) -> str:
        """The board of the official table that such a result belongs to."""
        return BOARDS[self.states]


class Evaluator:
    """Scores responses to the given dialogues. What depends on the corpus alone is computed once,
    and nothing that is passed in is changed."""

    @pause_collection()
    def __init__(self, dialogues: Sequence[Dialogue], database: Database) -> None:
        """Raises ConfigError where a dialogue has no goal, without which nothing can be judged."""
        without = [dialogue.id for dialogue in dialogues if not dialogue.goal]
        if without or not dialogues:
            raise ConfigError(
                f"Inform and Success need dialogues with goals: {len(without)} of {len(dialogues)} "
                f"have none{f' (first: {without[0]})' if without else ''}; evaluate a split with "
                "goals, or add goals.json to the corpus folder"
            )
        self._database = database
        self._dialogues = {dialogue.id: dialogue for dialogue in dialogues}
        self._n_turns = {dialogue.id: len(dialogue.turns) for dialogue in dialogues}
        self._references: dict[str, bleu.Reference] = {}
        self._states: dict[str, list[State]] = {}
        for dialogue in dialogues:
            self._references[dialogue.id] = bleu.Reference(
                [normalise_response(turn.delexicalised) for turn in dialogue.turns]
            )
            self._states[dialogue.id] = [normalise_state(turn.state) for turn in dialogue.turns]

    @pause_collection()
    def score(
        self, responses: Responses, *, states: States | None = None, partial: bool = False
    ) -> Scores:
        """Scores of responses in mwzeval's format, all dialogues covered (with `partial`, those
        that are there). `states`: whose to use; None: the predicted ones if every turn has one.
        Raises ConfigError where the responses do not fit the dialogues."""
        check_responses(responses, self._n_turns, partial=partial)
        states = choose_states(responses, states)
        texts = {
            name: [normalise_response(turn["response"]) for turn in turns]
            for name, turns in responses.items()
        }
        tracked = self._states
        if states == "predicted":
            tracked = {
                name: [normalise_state(turn["state"]) for turn in turns]
                for name, turns in responses.items()
            }
        names = sorted(responses)  # so that nothing but MSTTR depends on the input's order
        outcomes = self._judge(names, texts, tracked, _collect_domains(responses))
        counts = np.array([self._references[name].count(texts[name]) for name in names])
        summary = _summarise(names, outcomes, counts)
        if states == "predicted":
            summary["dst"], summary["intervals"]["joint_accuracy"] = self._score_states(tracked)
        return Scores(
            **summary, **describe_replies(responses, texts, self._dialogues), states=states
        )

    def _judge(
        self,
        names: Sequence[str],
        texts: Mapping[str, list[str]],
        tracked: Mapping[str, list[State]],
        domains: Mapping[str, list[Collection[str]]] | None,
    ) -> _Outcomes:
        outcomes = []
        for name in names:
            dialogue, states = self._dialogues[name], tracked[name]
            active = domains[name] if domains else estimate_domains(states)
            booked = [turn.booked for turn in dialogue.turns]
            turns = [*map(SystemTurn, texts[name], states, active, booked)]
            outcomes.append(judge(dialogue.goal, turns, self._database))
        return outcomes

    def _score_states(
        self, tracked: Mapping[str, list[State]]
    ) -> tuple[dict[str, float], Interval]:
        """State tracking's scores, and the interval of its joint accuracy."""
        names = sorted(tracked)
        counts = np.array([dst.count_slots(tracked[name], self._states[name]) for name in names])
        joint = bootstrap.resample_rate(
            bootstrap.draw_weights(len(names)),
            counts[:, 0].astype(float),
            counts[:, 1].astype(float),
        )
        return dst.compute_dst(counts.sum(axis=0).tolist()), bootstrap.find_interval(joint)


def _collect_domains(responses: Responses) -> dict[str, list[Collection[str]]] | None:
    """The active domains that the responses bring; None where a turn lacks them: they are then
    estimated for all."""
    if not all("active_domains" in turn for turns in responses.values() for turn in turns):
        return None
    return {name: [t["active_domains"] for t in turns] for name, turns in responses.items()}


def choose_states(responses: Responses, states: States | None) -> States:
    """Whose states are scored with: those asked for, else the predicted ones where every turn has
    one. Raises ConfigError."""
    lacking = [
        name for name, turns in responses.items() if any("state" not in turn for turn in turns)
    ]
    if states == "predicted" and lacking:
        raise ConfigError(
            f"--states predicted needs a state in every turn, and {lacking[0]} lacks one: "
            "add it, or score with --states gold"
        )
    return states or ("gold" if lacking else "predicted")


def describe_replies(
    responses: Responses,
    texts: Mapping[str, Sequence[str]],
    dialogues: Mapping[str, Dialogue],
    *,
    has_slots: bool = True,
) -> dict[str, Any]:
    """The fields of Scores that need no goals. `texts`: the replies as they are counted."""
    pairs = (
        (turn["response"], own.delexicalised)
        for name, turns in responses.items()
        for turn, own in zip(turns, dialogues[name].turns, strict=True)
    )
    said = [turn["response"] for turns in responses.values() for turn in turns]
    return {
        "richness": measure_richness(text for dialogue in texts.values() for text in dialogue),
        "placeholders": measure_placeholders(pairs) if has_slots else None,
        "distinct_replies": 100 * len(set(said)) / len(said),
        "n_dialogues": len(responses),
        "n_turns": len(said),
    }


def _flag(outcome: Outcome | None) -> int:
    return int(outcome is not None and outcome[TOTAL])


def _summarise(
    names: Sequence[str], outcomes: _Outcomes, counts: NDArray[np.int64]
) -> dict[str, Any]:
    """The fields of Scores that outcomes and BLEU's counts decide; one row a dialogue."""
    weights = bootstrap.draw_weights(len(names))
    rates = measure_rates(outcomes, weights)
    totals = {metric: by_domain[TOTAL] for metric, by_domain in rates.items()}
    points = {metric: rate.percent for metric, rate in totals.items()}
    spreads = {metric: rate.resampled for metric, rate in totals.items()}
    points["bleu"] = bleu.compute_bleu(counts.sum(axis=0))
    spreads["bleu"] = bleu.compute_bleus(weights @ counts)
    points["combined"] = (points["inform"] + points["success"]) / 2 + points["bleu"]
    spreads["combined"] = (spreads["inform"] + spreads["success"]) / 2 + spreads["bleu"]
    domains = {
        metric: {domain: rate for domain, rate in by_domain.items() if domain != TOTAL}
        for metric, by_domain in rates.items()
    }
    return {
        **points,
        "intervals": {m: bootstrap.find_interval(values) for m, values in spreads.items()},
        "per_domain": {m: {d: r.percent for d, r in by.items()} for m, by in domains.items()},
        "domain_intervals": {
            metric: {d: bootstrap.find_interval(rate.resampled) for d, rate in by.items()}
            for metric, by in domains.items()
        },
        "dialogues": {
            name: {"inform": _flag(inform), "success": _flag(success), "bleu": row}
            for name, (inform, success), row in zip(names, outcomes, counts.tolist(), strict=True)
        },
    }
