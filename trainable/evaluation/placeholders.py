"""Which placeholders replies offer, turn by turn against the corpus's own replies: what no bias
towards placeholders can buy."""

from collections import Counter
from collections.abc import Iterable

from trainable.dialogue.slots import CANONICAL, PLACEHOLDER


def list_placeholders(reply: str) -> Counter[str]:
    """The canonical names of a delexicalised reply's placeholders, with their numbers; one that
    has no canonical name counts under its own.

    >>> sorted(list_placeholders("[hotel_name] and [hotel_name] are at [address]").items())
    [('ADDRESS', 1), ('NAME', 2)]
    """
    names = (name.lower() for name in PLACEHOLDER.findall(reply))
    return Counter(CANONICAL.get(name) or name for name in names)


def measure_placeholders(pairs: Iterable[tuple[str, str]]) -> dict[str, float] | None:
    """Of (reply, the corpus's own) turn by turn: placeholders `per_reply` and `corpus_per_reply`;
    `precision`, `recall` and `f1` in 0..100 over all turns, where a placeholder counts as found as
    often as both replies to the same turn have it. None where the corpus has none."""
    turns, given, wanted, found = 0, 0, 0, 0
    for reply, own in pairs:
        mine, theirs = list_placeholders(reply), list_placeholders(own)
        turns, given, wanted = turns + 1, given + mine.total(), wanted + theirs.total()
        found += (mine & theirs).total()
    if not wanted:
        return None
    precision = 100 * found / given if given else 0.0
    recall = 100 * found / wanted
    return {
        "per_reply": given / turns,
        "corpus_per_reply": wanted / turns,
        "precision": precision,
        "recall": recall,
        "f1": 200 * found / (given + wanted),
    }
