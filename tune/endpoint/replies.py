"""The replies of whatever an endpoint serves, in mwzeval's format."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

from trainable.corpus.prompt import finds_state
from trainable.engine.slots.task import group_by_dialogue
from trainable.system.activity import forget, tell
from trainable.trial import DEFAULTS, ConfigError, Setting, TrialConfig
from tune.endpoint.client import Endpoint
from tune.endpoint.prompts import Question
from tune.export.tokens import Tokens, read_special
from tune.terminal.bars import show_activities

# fields of a trial's decoding that OpenAI's API has no name for
NAMELESS = ("min_new_tokens", "repetition_penalty", "no_repeat_ngram_size", "top_k", "typical_p")
WORK = "asking the endpoint"


def check_askable(config: TrialConfig, tokens: Tokens | None) -> None:
    """Raises ConfigError where the API cannot be asked for what the trial does."""
    if config.decoding not in ("greedy", "sampling"):
        raise ConfigError(
            f"--endpoint cannot ask for decoding={config.decoding}, which OpenAI's API does not "
            "know: give ",
            Setting("decoding", "greedy"),
        )
    for name in NAMELESS:
        if getattr(config, name) != DEFAULTS[name]:
            raise ConfigError(
                f"--endpoint cannot ask for {name}={getattr(config, name)}, which OpenAI's API "
                "does not know: give ",
                Setting(name, str(DEFAULTS[name])),
            )
    if config.earlier_replies == "own":
        raise ConfigError(
            "--endpoint asks for every reply after the corpus's earlier ones, at once, and cannot "
            "ask for earlier_replies=own: give ",
            Setting("earlier_replies", "corpus"),
        )
    if finds_state(config):
        raise ConfigError(
            f"--endpoint cannot ask for target={config.target}, which takes two answers a turn: "
            "score it by tune.evaluate without --endpoint"
        )
    if tokens is None and config.layout != "chat":
        raise ConfigError(
            "--endpoint needs to know how the model's texts end: name what it serves with "
            "--adapter or --model, or ask in a chat with ",
            Setting("layout", "chat"),
        )


def spell_settings(config: TrialConfig, tokens: Tokens | None) -> dict[str, Any]:
    """How replies are decoded, in the API's words."""
    is_drawn = config.decoding == "sampling"
    settings: dict[str, Any] = {
        "max_tokens": config.max_new_tokens,
        "temperature": (config.temperature or 1.0) if is_drawn else 0.0,
    }
    if is_drawn:
        settings |= {"top_p": config.top_p or 1.0, "seed": config.seed}
    if tokens is not None:
        settings["stop"] = [find_end(config, tokens)]
        if config.placeholder_bias:
            openers = map(str, tokens.special.openers)
            settings["logit_bias"] = dict.fromkeys(openers, config.placeholder_bias)
    return settings


def find_end(config: TrialConfig, tokens: Tokens) -> str:
    return str(tokens.tokenizer.convert_ids_to_tokens(read_special(config, tokens).eos))


def ask_all(
    endpoint: Endpoint, questions: Sequence[Question], common: Mapping[str, Any], concurrency: int
) -> dict[str, list[dict[str, Any]]]:
    """The answers to all questions, so many requests at a time; `common`: the fields of each.
    Raises ConfigError."""
    replies: dict[tuple[str, int], str] = {}
    tell(WORK, 0, len(questions))
    try:
        with show_activities(), ThreadPoolExecutor(concurrency) as pool:
            asked = {pool.submit(ask_one, endpoint, common, q): q for q in questions}
            try:
                for done in as_completed(asked):
                    replies[asked[done].dialogue, asked[done].turn] = done.result()
                    tell(WORK, len(replies), len(questions))
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
    finally:
        forget()
    return group_by_dialogue(replies)


def ask_one(endpoint: Endpoint, common: Mapping[str, Any], question: Question) -> str:
    """The reply's text, without the token that ends it. Raises ConfigError."""
    answer = endpoint.ask(question.path, {**common, **question.prompt})
    try:
        choice = answer["choices"][0]
        text = choice["text"] if "text" in choice else choice["message"]["content"]
    except (KeyError, IndexError, TypeError) as error:
        raise ConfigError(
            f"the endpoint must answer as OpenAI's API does, with choices, and said "
            f"{str(answer)[:100]!r}: give its address up to /v1 with --endpoint"
        ) from error
    text = str(text or "")
    for end in common.get("stop", ()):
        text = text.partition(end)[0]
    return text.strip()
