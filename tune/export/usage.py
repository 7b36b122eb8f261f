"""How a model is loaded and used: a card's sections with code."""

from trainable.model.packable import is_encoder_decoder
from tune.export.content import Export
from tune.export.guidance import describe_input, describe_installation
from tune.export.snippets import show_asking, show_loading, show_pipeline


def load(export: Export) -> str:
    """Empty where there are GGUF files alone."""
    if not export.has_weights:
        return ""
    config, is_merged = export.choice.config, export.is_merged
    parts = [
        "## Loading it",
        describe_installation(config, export.choice.records.versions, merged=is_merged),
        show_loading(config, None if is_merged else export.base, export.where, export.dtype),
    ]
    resolved = export.choice.trial.resolved
    if not is_merged and resolved and resolved.base_residency == "dequantized":
        parts.append(
            "`dequantize` gives the very numbers that the adapter was trained on; without it "
            "bitsandbytes' own 4-bit kernels round differently in the last bits, and now and then "
            "a reply changes."
        )
    if config.base_products == "fp8":
        parts.append(
            "It was trained and scored on a base that multiplies in FP8, which this code does not: "
            "where two tokens were near, it replies otherwise."
        )
    return "\n\n".join(parts)


def use(export: Export) -> str:
    """Three lines with `pipeline`; nothing for an encoder-decoder, which has none, or for GGUF
    files alone."""
    config, example = export.choice.config, export.example
    if is_encoder_decoder(config) or not export.has_weights:
        return ""
    code = show_pipeline(example, export.silent_ids, export.where, config)
    told = f" It answered at validation: `{example.reply}`" if example.messages else ""
    return f"## Using it\n\n{code}\n\n{describe_input(config)}{told}"


def ask(export: Export) -> str:
    """As at validation, token for token; in chat the template writes the same."""
    config = export.choice.config
    if export.example.messages or not export.has_weights:
        return ""
    return "\n\n".join(
        [
            "## As it was scored",
            "A conversation is one text, each piece tokenised by itself; longer ones lose their "
            f"first turns, down to {config.max_length_tokens} tokens. At validation it was asked "
            "this, among others:",
            show_asking(export.example, export.prefix_ids, export.silent_ids, export.where, config),
            f"and it answered: `{export.example.reply}`",
        ]
    )
