"""Replies of an export's GGUF files by llama.cpp beside those of our own engine:
python replies.py SWEEP OUT      (pip install llama-cpp-python gguf)
"""

import json
import sys
from pathlib import Path
from typing import Any

import llama_cpp

from analysis.records import read_sweep
from trainable.evaluation.validation import load_evaluator
from tune.export.choice import choose_trials
from tune.export.command import main as export
from tune.export.tokens import encode_dialogues, load_tokens
from tune.generate import generate, open_adapter

DIALOGUES, SPLIT = 100, "train"  # the embedded corpus has no other split that large
METRICS = ("combined", "bleu", "inform", "success")


def main(sweep: Path, out: Path) -> None:
    if not out.exists():
        assert export([str(sweep), "--out", str(out), "--gguf", "f16", "q8_0"]) == 0
    (choice,) = choose_trials(read_sweep(sweep), trial=None, metric="objective", top=1)
    system = open_adapter(str(choice.checkpoint), choice.config.base_model, {}, "cpu")
    ours = generate(system, SPLIT, DIALOGUES, "cpu")
    config, tokens = system.config, load_tokens(system.config)
    evaluator = load_evaluator(config.corpus, SPLIT, DIALOGUES, config.response)
    tell("our own engine", ours, ours, evaluator)
    for kind in ("f16", "q8_0"):
        served = llama_cpp.Llama(str(out / f"model-{kind}.gguf"), n_ctx=1024, verbose=False)
        replies: dict[str, list[dict[str, str]]] = {}
        for window in encode_dialogues(config, tokens, SPLIT, DIALOGUES):
            for prompt in window.prompts:
                ids = window.ids[:prompt].tolist()
                text = tokens.tokenizer.decode(ids).removeprefix(tokens.tokenizer.bos_token)
                assert served.tokenize(text.encode(), special=True) == ids
                made = served.create_completion(
                    text, max_tokens=config.max_new_tokens, temperature=0.0
                )
                reply = made["choices"][0]["text"].strip()
                replies.setdefault(window.dialogue_id, []).append({"response": reply})
        tell(kind, replies, ours, evaluator)


def tell(kind: str, replies: dict, ours: dict, evaluator: Any) -> None:
    pairs = [
        (mine["response"], its["response"])
        for name, turns in ours.items()
        for mine, its in zip(turns, replies[name], strict=True)
    ]
    scores = evaluator.score(dict(sorted(replies.items())))
    told = {"by": kind, "dialogues": len(ours), "replies": len(pairs)}
    told |= {"same": sum(mine == its for mine, its in pairs)}
    print(json.dumps({**told, **{m: round(getattr(scores, m), 2) for m in METRICS}}), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
