"""Why Inform and Success fail on validation, of replies and of the corpus's own:
python analysis/results/models/failures.py CORPUS REPLIES

Inform: domains in which no place was named, or only before the constraints were known. Success,
where Inform does not fail: what was asked for and never given, in how many domains.
"""

import sys
from collections import Counter
from pathlib import Path

from trainable.corpus.corpus import Corpus
from trainable.corpus.load import load_corpus
from trainable.dialogue.dialogue import Dialogue
from trainable.evaluation.inform_success import SystemTurn, find_provided, is_named, judge
from trainable.evaluation.normalise import normalise_response
from trainable.evaluation.predictions import read_predictions
from trainable.evaluation.states import estimate_domains, normalise_state


def main(corpus: Corpus, replies: Path) -> None:
    dialogues = {dialogue.id: dialogue for dialogue in corpus.get_split("validation")}
    made = {
        name: [turn["response"] for turn in turns]
        for name, turns in read_predictions(replies).items()
    }
    own = {name: [turn.delexicalised for turn in dialogues[name].turns] for name in made}
    for told, responses in (("the system's", made), ("the corpus's", own)):
        why = Counter[str]()
        for name, texts in responses.items():
            why.update(explain(dialogues[name], texts, corpus))
        print(f"{told}: {dict(why.most_common())}")


def explain(dialogue: Dialogue, texts: list[str], corpus: Corpus) -> list[str]:
    """Of each domain of the goal that fails: of Inform why, else what Success lacks."""
    states = [normalise_state(turn.state) for turn in dialogue.turns]
    active = estimate_domains(states)
    booked = [turn.booked for turn in dialogue.turns]
    turns = [*map(SystemTurn, map(normalise_response, texts), states, active, booked)]
    inform, success = judge(dialogue.goal, turns, corpus.database)
    by_domain = {d: [turn for turn in turns if d in turn.active] for d in dialogue.goal}
    if success is None:
        return [tell(domain, own) for domain, own in by_domain.items() if not inform[domain]]
    return [
        f"{slot} never given"
        for domain, own in by_domain.items()
        for slot in set(dialogue.goal[domain]["requestable"]) - find_provided(domain, own)
    ]


def tell(domain: str, turns: list[SystemTurn]) -> str:
    return "named too early" if any(is_named(domain, t) for t in turns) else "never named"


if __name__ == "__main__":
    main(load_corpus(sys.argv[1]), Path(sys.argv[2]))
