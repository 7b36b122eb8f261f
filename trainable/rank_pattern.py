"""Ranks of some layers in the place of a trial's own, as its `rank_pattern` spells them."""

import re
from functools import lru_cache

from trainable.errors import ConfigError, Setting

DEPTHS = ("first-half", "last-half", "every-second")
HIGHEST = 1024
PART = re.compile(r"\s*([\w.-]+)\s*=\s*(\d+)\s*")


@lru_cache(maxsize=256)
def parse_rank_pattern(text: str | None) -> dict[str, int]:
    """Kind of layer, depth, or a layer's own name -> rank, in the order of the text; the first that
    fits a layer decides. Raises ConfigError.

    >>> parse_rank_pattern("attention=16, ffn=4")
    {'attention': 16, 'ffn': 4}
    """
    ranks: dict[str, int] = {}
    for part in text.split(",") if text else ():
        found = PART.fullmatch(part)
        if found is None or not 1 <= int(found[2]) <= HIGHEST:
            raise ConfigError(
                f"rank_pattern must be parts NAME=RANK with ranks of 1 to {HIGHEST}, not {part!r}: "
                "give ",
                Setting("rank_pattern", "attention=16,ffn=4"),
            )
        ranks.setdefault(found[1], int(found[2]))
    return ranks


def multiply_ranks(text: str | None, factor: int) -> str | None:
    """The pattern with every rank so many times as high.

    >>> multiply_ranks("attention=16,ffn=4", 2)
    'attention=32,ffn=8'
    """
    ranks = parse_rank_pattern(text)
    return ",".join(f"{name}={factor * rank}" for name, rank in ranks.items()) or None
