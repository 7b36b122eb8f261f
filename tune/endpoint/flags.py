"""The flags of `tune.evaluate --endpoint`."""

from __future__ import annotations

import argparse

from trainable.command.parser import Parser
from trainable.trial import ConfigError


def add_endpoint(parser: Parser) -> None:
    group = parser.add_argument_group("what a server says")
    group.add_argument(
        "--endpoint",
        metavar="URL",
        help="ask this server, which speaks OpenAI's API (vLLM, llama.cpp, Ollama): with --adapter "
        "or --model, of which it serves one, else in a chat; a key comes from OPENAI_API_KEY",
    )
    group.add_argument("--served-model", metavar="NAME", help="as the server calls it")
    group.add_argument(
        "--concurrency", type=int, default=16, metavar="N", help="requests at a time (%(default)s)"
    )


def check_flags(args: argparse.Namespace) -> None:
    """Raises ConfigError."""
    if not (args.predictions or args.adapter or args.model or args.endpoint):
        raise ConfigError(
            "something must be scored: give --predictions, --adapter, --model or --endpoint"
        )
    if args.endpoint and args.predictions:
        raise ConfigError("--endpoint has no meaning with --predictions: leave one of them out")
    if not 1 <= args.concurrency <= 1000:
        raise ConfigError(f"--concurrency must lie in [1, 1000], not {args.concurrency}")
    if args.served_model and not args.endpoint:
        raise ConfigError("--served-model has no meaning without --endpoint: leave it out")
