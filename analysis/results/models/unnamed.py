"""Why Inform fails on validation, of replies and of the corpus's own, a domain of a dialogue each:
python analysis/results/models/unnamed.py CORPUS REPLIES"""

import json
import sys
from collections import Counter
from pathlib import Path

from trainable.corpus.corpus import Corpus
from trainable.corpus.load import load_corpus
from trainable.dialogue.dialogue import Dialogue
from trainable.evaluation.inform_success import SystemTurn, is_named, judge
from trainable.evaluation.normalise import normalise_response
from trainable.evaluation.states import estimate_domains, normalise_state


def main(corpus: Corpus, replies: Path) -> None:
    dialogues = {dialogue.id: dialogue for dialogue in corpus.get_split("validation")}
    made = {
        name: [turn["response"] for turn in turns]
        for name, turns in json.loads(replies.read_text()).items()
    }
    own = {name: [turn.delexicalised for turn in dialogues[name].turns] for name in made}
    for told, responses in (("the system's", made), ("the corpus's", own)):
        why = Counter[str]()
        for name, texts in responses.items():
            why.update(explain(dialogues[name], texts, corpus))
        print(f"{told}: {dict(why)}")


def explain(dialogue: Dialogue, texts: list[str], corpus: Corpus) -> list[str]:
    """Of each domain of the goal that Inform fails in."""
    states = [normalise_state(turn.state) for turn in dialogue.turns]
    active = estimate_domains(states)
    booked = [turn.booked for turn in dialogue.turns]
    turns = [*map(SystemTurn, map(normalise_response, texts), states, active, booked)]
    inform, _ = judge(dialogue.goal, turns, corpus.database)
    failed = [domain for domain in dialogue.goal if not inform[domain]]
    return [tell(domain, [turn for turn in turns if domain in turn.active]) for domain in failed]


def tell(domain: str, turns: list[SystemTurn]) -> str:
    return "named too early" if any(is_named(domain, t) for t in turns) else "never named"


if __name__ == "__main__":
    main(load_corpus(sys.argv[1]), Path(sys.argv[2]))
