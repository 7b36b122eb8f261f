"""The flags of `tune.evaluate --endpoint`."""

import argparse

from trainable.command.parser import Parser
from trainable.trial import ConfigError


def add_endpoint(parser: Parser) -> None:
    """Adds the flags of replies from a server, in a group of their own."""
    group = parser.add_argument_group("replies of a server")
    group.add_argument(
        "--endpoint",
        metavar="URL",
        help="ask the server there, which speaks OpenAI's API (vLLM, llama.cpp, Ollama); --adapter "
        "or --model say what it serves, without them it is asked as a chat model; the key is read "
        "from OPENAI_API_KEY",
    )
    group.add_argument("--served-model", metavar="NAME", help="the model's name on the server")
    group.add_argument(
        "--request",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="add a field to every request, such as repeat_penalty=1",
    )
    group.add_argument(
        "--concurrency", type=int, default=16, metavar="N", help="requests at a time"
    )


def check_flags(args: argparse.Namespace) -> None:
    """Raises ConfigError."""
    if not (args.predictions or args.adapter or args.model or args.endpoint):
        raise ConfigError(
            "there is nothing to score: give --predictions, --adapter, --model or --endpoint"
        )
    if args.endpoint and args.predictions:
        raise ConfigError("--endpoint has no meaning with --predictions: leave one of them out")
    if not 1 <= args.concurrency <= 1000:
        raise ConfigError(f"--concurrency must lie in [1, 1000], not {args.concurrency}")
    for name in ("served_model", "request"):
        if getattr(args, name) and not args.endpoint:
            flag = name.replace("_", "-")
            raise ConfigError(f"--{flag} has no meaning without --endpoint: leave it out")
