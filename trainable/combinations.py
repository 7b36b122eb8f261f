"""Values of a trial's fields that exclude each other, though each of them is allowed."""

from collections.abc import Mapping
from typing import Any

from trainable.errors import ConfigError, Setting
from trainable.rank_pattern import HIGHEST, parse_rank_pattern


def check_combinations(values: Mapping[str, Any]) -> None:
    """`values`: every field of a trial. Raises ConfigError."""
    check_decoding(values)
    check_start(values)
    check_compute(values["quantisation"], values["compute"])
    check_products(values["base_products"], values["quantisation"], values["compute"])
    check_frozen(values)
    check_text(values)


def check_text(values: Mapping[str, Any]) -> None:
    """What is read and learnt."""
    is_found = values["target"].startswith("state+")
    if values["layout"] == "chat" and is_found:
        raise ConfigError(
            f"target={values['target']} needs ",
            *(Setting("layout", "lines"), ", for no chat template has belief states: "),
            *("give that, or ", Setting("target", values["target"].removeprefix("state+"))),
        )
    if values["requests"] and values["context"] == "history" and not is_found:
        raise ConfigError(
            "requests=true needs a state, which it adds the user's requests to: give ",
            *(Setting("context", "history+state"), " or ", Setting("target", "state+response")),
        )


def check_compute(quantisation: str, compute: str) -> None:
    """Weights that are not quantised are held in the type that is computed in."""
    bits = {"bf16": ("bf16", "fp16"), "fp32": ("fp32",)}
    fitting = bits.get(quantisation, (compute,))
    if compute != "auto" and compute not in fitting:
        raise ConfigError(
            f"compute={compute} does not fit quantisation={quantisation}, whose weights are not "
            f"quantised: give ",
            *(Setting("compute", fitting[0]), " or ", Setting("quantisation", "nf4")),
        )


def check_products(base_products: str, quantisation: str, compute: str) -> None:
    """FP8 takes the place of bf16, of weights that are held in no other 8 or 32 bits."""
    if base_products == "compute":
        return
    if compute not in ("auto", "bf16"):
        raise ConfigError(
            f"base_products=fp8 gives results in bf16, not with compute={compute}: give ",
            *(Setting("compute", "bf16"), " or ", Setting("base_products", "compute")),
        )
    if quantisation not in ("nf4", "fp4", "bf16"):
        raise ConfigError(
            f"base_products=fp8 is made of a base in nf4, fp4 or bf16, not of "
            f"quantisation={quantisation}: give ",
            *(Setting("quantisation", "nf4"), " or ", Setting("base_products", "compute")),
        )


def check_frozen(values: Mapping[str, Any]) -> None:
    if values["base_products"] == "fp8" and values["method"] == "full":
        raise ConfigError(
            "base_products=fp8 is for a frozen base, and method=full trains it: leave one out (",
            *(Setting("base_products", "compute"), ")"),
        )


def check_start(values: Mapping[str, Any]) -> None:
    """What an adapter begins as."""
    ranks = parse_rank_pattern(values["rank_pattern"]).values()
    if values["lora_init"] != "pissa":
        return
    if values["dora"]:
        raise ConfigError(
            "dora=true needs the norms of whole weights, and lora_init=pissa takes components out "
            "of them: leave one out (",
            *(Setting("dora", "false"), ")"),
        )
    if values["adapter"] is not None:
        raise ConfigError(
            "lora_init=pissa sets an adapter's first weights, and adapter= brings its own: leave "
            "one out (",
            *(Setting("lora_init", "uniform"), ")"),
        )
    if 2 * max(values["lora_rank"], *ranks, 0) > HIGHEST:
        raise ConfigError(
            f"lora_init=pissa takes ranks up to {HIGHEST // 2}, for its adapter is saved at twice "
            f"the rank, and lora_rank={values['lora_rank']} or a part of rank_pattern is above: "
            "give ",
            Setting("lora_rank", str(HIGHEST // 2)),
        )


def check_decoding(values: Mapping[str, Any]) -> None:
    """Raises ConfigError."""
    if values["decoding"] == "contrastive" and values["top_k"] is None:
        raise ConfigError("contrastive search needs top_k: give ", Setting("top_k", "4"))
    if values["min_new_tokens"] > values["max_new_tokens"]:
        raise ConfigError(
            f"min_new_tokens={values['min_new_tokens']} is above max_new_tokens="
            f"{values['max_new_tokens']}: lower the one or raise the other (",
            *(Setting("max_new_tokens"), ")"),
        )
