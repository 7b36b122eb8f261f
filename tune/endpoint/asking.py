"""What an endpoint says, in the place of our own engine."""

import argparse
from typing import Any

from trainable.corpus.corpus import Corpus
from trainable.corpus.prompt import cut_plan
from trainable.trial import TrialConfig
from tune.endpoint.client import open_endpoint
from tune.endpoint.prompts import list_questions
from tune.endpoint.replies import ask_all, check_askable, spell_settings
from tune.export.tokens import load_tokens
from tune.plan.flags import parse_pairs


def ask_endpoint(
    config: TrialConfig, corpus: Corpus, n_dialogues: int, args: argparse.Namespace
) -> dict[str, list[dict[str, Any]]]:
    """The replies, in mwzeval's format, of the server that the flags name. Raises ConfigError."""
    tokens = load_tokens(config) if args.adapter or args.model else None
    check_askable(config, tokens)
    extra = parse_pairs(args.request, "--request")
    endpoint, model = open_endpoint(args.endpoint, args.served_model)
    questions = list(list_questions(config, corpus, tokens, args.split, n_dialogues))
    common = {"model": model, **spell_settings(config, tokens), **extra}
    replies = ask_all(endpoint, questions, common, args.concurrency)
    return {
        name: [{"response": cut_plan(turn["response"], config)} for turn in turns]
        for name, turns in replies.items()
    }
