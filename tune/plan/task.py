"""What a sweep's corpus makes of its settings: defaults, the objective, and what is told of it.
Checks raise ConfigError in one line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from search_spaces.space import Space
from trainable.evaluation.objective import Objective, read_objective
from trainable.model.packable import is_toy, names_toy
from trainable.trial import ConfigError, Setting, TrialConfig
from tune.plan.defaults import why_no_loss
from tune.plan.flags import EMBEDDED
from tune.search.config import SweepConfig
from tune.search.profiles import BASES

if TYPE_CHECKING:
    from trainable.corpus.corpus import Corpus
    from trainable.dialogue.dialogue import Dialogue

REHEARSED = 3  # dialogues that a Python objective is tried on
# kind of a corpus -> what trials are compared by where nothing is said
OBJECTIVES = {"multiwoz": "combined", "sgd": "bleu", "chats": "loss"}


def find_task_defaults(space: Space, profile: str) -> dict[str, Any]:
    """Fields of TrialConfig that the corpus decides where nobody else does: chats are written in
    the base model's own template where it has one, and have nothing to delexicalise."""
    fields = {**BASES[profile], **space.fixed}
    corpus, base_model = str(fields["corpus"]), str(fields["base_model"])
    if corpus in EMBEDDED or names_toy(base_model):
        return {}
    if _load(corpus).kind != "chats":
        return {}
    models = getattr(space.searched.get("base_model"), "choices", (base_model,))
    layout = "chat" if all(map(has_template, models)) else "lines"
    return {"response": "lexicalised", "layout": layout}


def has_template(base_model: str) -> bool:
    from tune.export.tokens import load_tokens

    config = TrialConfig(base_model=base_model, method="none", quantisation="fp32")
    return bool(load_tokens(config).tokenizer.chat_template)


def is_own(config: TrialConfig) -> bool:
    """Whether the corpus has to be looked at to know what it is."""
    return not is_toy(config) and config.corpus not in EMBEDDED


def _load(corpus: str) -> Corpus:
    from trainable.corpus.load import load_corpus

    return load_corpus(corpus)


def choose_objective(
    text: str | None, direction: str | None, configs: Sequence[TrialConfig]
) -> Objective:
    """What `--objective` and `--direction` say; without, what the corpora allow: Combined, BLEU
    where they have no goals, the loss where they are chats."""
    corpora = {c.corpus if is_own(c) else "" for c in configs}
    kinds = {_load(name).kind if name else "multiwoz" for name in corpora}
    if text is None:
        kind = next((k for k in ("chats", "sgd") if k in kinds), "multiwoz")
        text = OBJECTIVES[kind]
        if text == "loss" and why_no_loss(configs):
            text = "bleu"
    objective = read_objective(text, direction)
    if objective == read_objective("semantic") and any(map(is_toy, configs)):
        raise ConfigError("--objective semantic needs a base model's embeddings: a toy has none")
    check_kinds(objective, kinds)
    if objective.name == "loss" and not objective.is_python and (why := why_no_loss(configs)):
        raise ConfigError(
            f"--objective loss cannot compare these trials ({why}): give another --objective"
        )
    return objective


def check_kinds(objective: Objective, kinds: Iterable[str]) -> None:
    """Corpora of those kinds have what the objective asks for."""
    lacking = {"combined": ("goals", {"chats", "sgd"}), "slots": ("annotated slots", {"chats"})}
    what, without = lacking.get(objective.name, ("", set()))
    if without & {*kinds}:
        raise ConfigError(
            f"--objective {objective.name} needs a corpus with {what}, and this one has none: give "
            "loss, bleu, rouge, exact or python:FILE:FUNCTION"
        )


def trust_again(config: SweepConfig, text: str | None, direction: str | None) -> Objective:
    """The objective of a sweep that is resumed. Python runs by the flag of this very command alone,
    and must be what the sweep began with."""
    is_same = text in (None, config.objective) or (text or "").startswith("python:")
    if not is_same or direction not in (None, config.direction):
        raise ConfigError(
            f"{config.name} compares its trials by {config.objective} ({config.direction}), which "
            "cannot change with --resume: start a new sweep (--name)"
        )
    if not config.objective.startswith("python:"):
        if text not in (None, config.objective):
            raise ConfigError(f"--objective {text} cannot change with --resume: leave it out")
        return read_objective(config.objective, config.direction)
    if text is None:
        raise ConfigError(
            f"{config.name} is measured by a Python function, which runs only where this command "
            f"names it: look at the file, and add --objective {config.objective}"
        )
    objective = read_objective(text, config.direction)
    if objective.sha256 != config.objective_sha256 or not config.objective.endswith(
        f":{objective.name}"
    ):
        raise ConfigError(
            f"--objective {text} is not what {config.name} began with (its file has changed): "
            "scores would not compare; put it back, or start a new sweep (--name)"
        )
    return objective


def rehearse_objective(objective: Objective, config: TrialConfig) -> None:
    """Tries a Python objective on a few of the corpus's own replies; of another one, that its model
    is there."""
    if objective.encoder:
        from tune.terminal.quiet import quieten

        quieten()
        from trainable.worker.objective import open_metrics

        print(f"loading {objective.encoder}, by which replies are compared", flush=True)
        open_metrics(objective, config.base_model)
    if not objective.is_python:
        return
    from trainable.evaluation.measure import rehearse

    print(f"trying {objective.name} of {objective.file} on the corpus's own replies", flush=True)
    rehearse(objective, list_rehearsed(config))


def list_rehearsed(config: TrialConfig) -> tuple[Dialogue, ...]:
    from trainable.corpus.subset import validation_subset
    from trainable.dialogue.dialogue import Dialogue, Turn
    from trainable.evaluation.validation import to_references

    if is_toy(config):
        turn = Turn(user="", response="", delexicalised="", state={}, booked=())
        return (Dialogue(id="toy0000", turns=(turn,), goal={}),)
    split = _load(config.corpus).get_split("validation")
    return to_references(validation_subset(split, REHEARSED), config.response)


def check_task(configs: Iterable[TrialConfig]) -> None:
    """What the configs read of a corpus is there."""
    from trainable.corpus.prompt import plans_acts

    own = filter(is_own, configs)
    for config in {(c.corpus, c.context, c.target, c.requests): c for c in own}.values():
        corpus = _load(config.corpus)
        if corpus.kind == "chats" and (config.context != "history" or config.target != "response"):
            raise ConfigError(
                f"corpus {corpus.name} has neither states nor acts nor placeholders: give ",
                *(Setting("context", "history"), " and ", Setting("target", "response")),
            )
        if config.requests and not any(
            turn.requested for d in corpus.get_split("train") for turn in d.turns
        ):
            raise ConfigError(
                f"corpus {corpus.name} does not tell what users ask for: leave out ",
                Setting("requests"),
            )
        if plans_acts(config) and not any(
            turn.acts for d in corpus.get_split("train") for turn in d.turns
        ):
            raise ConfigError(
                f"corpus {corpus.name} does not tell what the system does in a turn: give ",
                Setting("target", config.target.replace("acts", "plan")),
            )
        if corpus.kind != "multiwoz" and "db" in config.context:
            raise ConfigError(
                f"corpus {corpus.name} has no database: give ", Setting("context", "history+state")
            )


def spell(objective: Objective, text: str | None) -> Mapping[str, Any]:
    """The fields of SweepConfig that tell it."""
    spelt = text if text and (objective.is_python or objective.encoder) else objective.name
    return {
        "objective": spelt,
        "direction": objective.direction,
        "objective_sha256": objective.sha256,
    }
