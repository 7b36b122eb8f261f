"""How a model is served: a card's section, and what vLLM asks of an adapter."""

from collections.abc import Mapping
from typing import Any

from tune.export.content import Export
from tune.export.gguf.write import name_file
from tune.export.snippets import fence

VLLM_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)  # choices of --max-lora-rank
VLLM_PATTERNS = "0.33"  # the first known to read a layer's own rank and scale


def serve(export: Export) -> str:
    """llama.cpp's and Ollama's commands, or vLLM's; and how what is served is scored."""
    told = serve_gguf(export) if export.gguf else serve_by_vllm(export)
    return f"## Serving it\n\n{told}" if told else ""


def serve_gguf(export: Export) -> str:
    config, first = export.choice.config, name_file(export.gguf[0])
    context = config.max_length_tokens + config.max_new_tokens
    name = export.where.rpartition("/")[2].lower()
    commands = fence(
        f"$ ollama create {name} -f Modelfile && ollama run {name}",
        f"$ llama-server -m {first} --jinja -c {context}",
        spell_scoring(export, "http://localhost:8080/v1"),
        language="console",
    )
    figures = export.record["gguf"]
    apart = "; ".join(
        f"`{file}` is {found['kl_nats_per_token']:.6f} nats a token (KL) from it and gives "
        f"{found['same_replies']:.1%} of its replies"
        for file, found in figures["files"].items()
    )
    return (
        f"{commands}\n\nThe files hold the adapter merged into the weights that it was trained "
        "on, the tokenizer, the template, and whether a text begins with a token of its own, so "
        "that llama.cpp reads what the trial read. Read back and set against the merged model in "
        f"fp32, on {figures['turns']} validation turns: {apart}."
    )


def serve_by_vllm(export: Export) -> str:
    """The command for an adapter; empty for a merged model, which needs none of this."""
    fields = export.adapter_fields
    if not fields:
        return ""
    if why := why_not_vllm(fields):
        return f"{why}."
    quantised = export.choice.config.quantisation in ("nf4", "int8")
    rank = next(r for r in VLLM_RANKS if r >= largest_rank(fields))
    lines = [
        f"$ vllm serve {export.base} --enable-lora --max-lora-rank {rank} \\",
        f"    --lora-modules dialogue={export.where}" + " --quantization bitsandbytes" * quantised,
        spell_scoring(export, "http://localhost:8000/v1") + " --served-model dialogue",
    ]
    note = (
        "\n\n`--quantization bitsandbytes` gives the base the rounded weights that the adapter was "
        "trained on; without it the same adapter stands on other weights and now and then says "
        "something else."
        if quantised
        else ""
    )
    if fields.get("rank_pattern") or fields.get("alpha_pattern"):
        note += (
            "\n\nIts layers have ranks of their own, which vLLM reads from version "
            f"{VLLM_PATTERNS} on; an older one would take one scale for all."
        )
    return fence(*lines, language="console") + note


def why_not_vllm(fields: Mapping[str, Any]) -> str | None:
    """One line with what to do; None: vLLM takes the adapter."""
    obstacles = list_obstacles(fields)
    if not obstacles:
        return None
    return f"vLLM does not take this adapter ({'; '.join(obstacles)}): export it with --merged"


def list_obstacles(fields: Mapping[str, Any]) -> list[str]:
    """Why vLLM refuses an adapter, or would compute something else with it: what its PEFTHelper
    checks, and what it does not read."""
    rules = {
        "bias is not none": fields.get("bias", "none") == "none",
        "it saves whole modules": not fields.get("modules_to_save"),
        "it is a DoRA": not fields.get("use_dora"),
        f"its rank is above {VLLM_RANKS[-1]}": largest_rank(fields) <= VLLM_RANKS[-1],
        "it has a bias of its own": not fields.get("lora_bias"),
        "it repeats layers": not fields.get("layer_replication"),
    }
    return [rule for rule, is_met in rules.items() if not is_met]


def largest_rank(fields: Mapping[str, Any]) -> int:
    return max([int(fields["r"]), *(fields.get("rank_pattern") or {}).values()])


def spell_scoring(export: Export, url: str) -> str:
    return f"$ python -m tune.evaluate --endpoint {url} --adapter {export.where} --split validation"
