"""Scores of replies where there are no goals to reach: BLEU, how rich they are, and for annotated
corpora their slots and states.

BLEU is sacrebleu's with its defaults (13a, case kept) on the texts as they are; a placeholder is
one token.
"""

from collections.abc import Sequence

import numpy as np

from trainable.dialogue.dialogue import Dialogue
from trainable.dialogue.slots import PLACEHOLDER
from trainable.evaluation import bleu, bootstrap, dst
from trainable.evaluation.evaluator import Scores, States, choose_states, describe_replies
from trainable.evaluation.predictions import Responses, check_responses
from trainable.trial import ConfigError, Setting


class PlainEvaluator:
    """Scores responses to the given dialogues, any number of times."""

    def __init__(self, dialogues: Sequence[Dialogue], *, has_slots: bool) -> None:
        """`has_slots`: what stands in brackets is a placeholder. Raises ConfigError where there is
        nothing to score."""
        if not dialogues:
            raise ConfigError(
                "an evaluation needs dialogues, and there are none (", Setting("corpus"), ")"
            )
        self._has_slots = has_slots
        self._dialogues = {dialogue.id: dialogue for dialogue in dialogues}
        self._references = {
            dialogue.id: bleu.Reference([self._spell(t.delexicalised) for t in dialogue.turns])
            for dialogue in dialogues
        }

    def score(
        self, responses: Responses, *, states: States | None = None, partial: bool = False
    ) -> Scores:
        """See `Evaluator.score`; Inform, Success and Combined are None."""
        n_turns = {name: len(dialogue.turns) for name, dialogue in self._dialogues.items()}
        check_responses(responses, n_turns, partial=partial)
        states = choose_states(responses, states)
        names = sorted(responses)
        texts = {name: [self._spell(t["response"]) for t in responses[name]] for name in names}
        counts = np.array([self._references[name].count(texts[name]) for name in names])
        weights = bootstrap.draw_weights(len(names))
        return Scores(
            bleu=bleu.compute_bleu(counts.sum(axis=0)),
            inform=None,
            success=None,
            combined=None,
            per_domain={},
            domain_intervals={},
            **describe_replies(responses, texts, self._dialogues, has_slots=self._has_slots),
            states=states,
            intervals={"bleu": bootstrap.find_interval(bleu.compute_bleus(weights @ counts))},
            dialogues={n: {"bleu": row} for n, row in zip(names, counts.tolist(), strict=True)},
            dst=self._track(responses) if states == "predicted" else None,
        )

    def _spell(self, text: str) -> str:
        """
        >>> PlainEvaluator([Dialogue(id="", turns=(), goal={})], has_slots=True)._spell("[a b] is")
        'A_B is'
        """
        if not self._has_slots:
            return text
        return PLACEHOLDER.sub(lambda found: found.group(1).upper().replace(" ", "_"), text)

    def _track(self, responses: Responses) -> dict[str, float]:
        counts = [
            dst.count_slots(
                [turn["state"] for turn in turns],
                [turn.state for turn in self._dialogues[name].turns],
            )
            for name, turns in responses.items()
        ]
        return dst.compute_dst(np.array(counts).sum(axis=0).tolist())
