"""Which of a model's own replies are worth training on: those that say what the corpus's say."""

from collections.abc import Iterable, Sequence

from trainable.dialogue.dialogue import Dialogue
from trainable.evaluation.likeness import rouge_l
from trainable.evaluation.placeholders import list_placeholders
from trainable.evaluation.predictions import Responses

Chosen = dict[tuple[str, int], str]  # (dialogue, system turn) -> reply


def choose_replies(dialogues: Iterable[Dialogue], samples: Sequence[Responses]) -> Chosen:
    """Of each turn's samples the one likest to the corpus's reply by ROUGE-L, among those with the
    same placeholders, each as often; turns without such a sample are left out."""
    chosen: Chosen = {}
    for dialogue in dialogues:
        for number, turn in enumerate(dialogue.turns):
            own = list_placeholders(turn.delexicalised)
            said = [s[dialogue.id][number]["response"] for s in samples if dialogue.id in s]
            fitting = [text for text in said if text and list_placeholders(text) == own]
            if fitting:
                best = max(fitting, key=lambda text: rouge_l(text, turn.delexicalised))
                chosen[dialogue.id, number] = best
    return chosen
