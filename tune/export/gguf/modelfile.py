"""Modelfile: what `ollama create` makes a model of."""

from trainable.corpus.chat import Chat
from trainable.trial import TrialConfig
from tune.export.gguf.template import spell_go

MODELFILE = "Modelfile"


def spell_modelfile(config: TrialConfig, chat: Chat | None, end: str, file: str) -> str:
    """Of the GGUF file of that name beside it; `end` is the token that closes a reply."""
    template = spell_go(config, chat, end)
    lines = [f"FROM ./{file}", f'TEMPLATE """{template}"""']
    lines += [f"PARAMETER {name} {value}" for name, value in list_parameters(config, end)]
    if config.placeholder_bias:
        lines.append(
            f"# Scored with {config.placeholder_bias:g} added to the logits that open a "
            "placeholder, for which Ollama has no parameter."
        )
    return "\n".join(lines) + "\n"


def list_parameters(config: TrialConfig, end: str) -> list[tuple[str, str]]:
    """The trial's decoding; what it left out is switched off, not left to Ollama's defaults."""
    is_drawn = config.decoding == "sampling"
    values: dict[str, float | int | str] = {
        "temperature": (config.temperature or 1.0) if is_drawn else 0,
        "top_k": (config.top_k or 0) if is_drawn else 1,
        "top_p": (config.top_p or 1.0) if is_drawn else 1.0,
        "typical_p": (config.typical_p or 1.0) if is_drawn else 1.0,
        "min_p": 0.0,
        "repeat_penalty": config.repetition_penalty,
        "seed": config.seed,
        "num_ctx": config.max_length_tokens + config.max_new_tokens,
        "num_predict": config.max_new_tokens,
        "stop": f'"{end}"',
    }
    return [(name, f"{v:g}" if isinstance(v, float) else str(v)) for name, v in values.items()]
