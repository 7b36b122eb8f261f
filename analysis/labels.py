"""How values, parameters and modules are spelt for a reader."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from analysis.records import TrialRecord
from trainable.evaluation.objective import name_spelt


def label_modules(trial: TrialRecord) -> str:
    """The selection as it was asked for, and the adapted modules by name.

    >>> from trainable.result import Resolved
    >>> modules = ("layers.0.q_proj", "layers.0.v_proj", "layers.1.q_proj", "layers.1.v_proj")
    >>> config = {"method": "lora", "lora_modules": "qv"}
    >>> resolved = Resolved(modules=modules)
    >>> label_modules(TrialRecord(id="1", number=1, params={}, config=config, resolved=resolved))
    'qv: q_proj v_proj'
    """
    method = trial.config.get("method")
    if method == "none":
        return "untuned"
    if method == "full":
        return "all weights"
    chosen = str(trial.config.get("lora_modules", ""))
    modules: tuple[str, ...] = trial.resolved.modules if trial.resolved else ()
    names = sorted({path.rpartition(".")[2] for path in modules})
    return f"{chosen}: {' '.join(names)}" if names else chosen


LABELS = {
    **{"combined": "Combined", "loss": "nats a word", "bleu": "BLEU", "rouge": "ROUGE-L"},
    **{"exact": "exact matches", "slots": "slot F1", "semantic": "similarity"},
}


def label_objective(spelt: str) -> str:
    """What trials are compared by, for a reader; of a Python function its name.

    >>> label_objective("bleu"), label_objective("python:my/file.py:helpfulness")
    ('BLEU', 'helpfulness')
    """
    name = name_spelt(spelt)
    return LABELS.get(name, name)


def count_digits(name: str, level: float) -> int:
    """After the point, of an objective's values near `level`: a function's may lie in 0..1.

    >>> count_digits("bleu", 3.1), count_digits("loss", 3.1), count_digits("helpfulness", 0.4)
    (1, 3, 3)
    """
    if name in LABELS:
        return 3 if name == "loss" else 1
    return 3 if abs(level) < 10 else 1


def count_points(name: str, level: float) -> float:
    """How much of an objective is as much worth as a point of Combined (0..200): what is assumed of
    seeds before a sweep is seen, and what difference is worth having, is said in such points.

    >>> count_points("combined", 90.0), count_points("loss", 2.0), count_points("my_score", 0.4)
    (1.0, 0.02, 0.005)
    """
    if name in LABELS:
        return {"combined": 1.0, "loss": 0.02}.get(name, 0.5)
    return 0.005 if abs(level) < 10 else 0.5


def format_score(value: float | None, name: str) -> str:
    """
    >>> format_score(31.25, "rouge"), format_score(None, "rouge")
    ('31.2', '')
    """
    return "" if value is None else f"{value:.{count_digits(name, value)}f}"


def label_params(params: Mapping[str, Any]) -> str:
    """`lora_rank 8, learning_rate 0.001`: what was searched, without the seed."""
    return ", ".join(f"{k} {format_value(v)}" for k, v in params.items() if k != "seed")


def label_setting(number: int, params: Mapping[str, Any]) -> str:
    """What sets a trial apart.

    >>> label_setting(-1, {}), label_setting(0, {}), label_setting(1, {"lora_rank": 8})
    ('untuned', 'all fixed', 'lora_rank 8')
    """
    return "untuned" if number < 0 else label_params(params) or "all fixed"


def format_value(value: Any) -> str:
    """A searched value for a reader: four significant digits, a pattern by the names in it.

    >>> format_value(0.00031622776), format_value(True), format_value(8)
    ('0.0003162', 'yes', '8')
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else shorten_pattern(str(value))


PATTERN = re.compile(r"regexp:\.\*(?:\\\.)?\(?([^():]+)\)?(?=:|$)")


def shorten_pattern(text: str) -> str:
    r"""A pattern on module paths without what most of them begin with; others as they are.

    >>> shorten_pattern(r"regexp:.*\.(o_proj|mlp\.down_proj)"), shorten_pattern("ffn")
    ('o_proj|mlp.down_proj', 'ffn')
    >>> shorten_pattern(r"regexp:.*\.(q_proj): q_proj"), shorten_pattern("regexp:(a|b).*")
    ('q_proj: q_proj', 'regexp:(a|b).*')
    """
    return PATTERN.sub(lambda found: found[1].replace(r"\.", "."), text)


def enumerate_texts(texts: Sequence[str]) -> str:
    """
    >>> enumerate_texts(["a", "b", "c"]), enumerate_texts(["a"])
    ('a, b and c', 'a')
    """
    *before, last = texts
    return f"{', '.join(before)} and {last}" if before else last


def to_markdown(rows: Iterable[Sequence[str]]) -> str:
    """A table; the first row is its head.

    >>> print(to_markdown([["field", "value"], ["layers", "q|v"]]))
    | field | value |
    | --- | --- |
    | layers | q\\|v |
    """
    head, *rest = ([cell.replace("|", "\\|") for cell in row] for row in rows)
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rest))


def abbreviate(text: str, n_characters: int) -> str:
    """Without its middle, for long values often begin alike.

    >>> abbreviate("history+state+db", 14), abbreviate("ffn", 14)
    ('histor…tate+db', 'ffn')
    """
    front, back = (n_characters - 1) // 2, n_characters // 2
    return text if len(text) <= n_characters else f"{text[:front]}…{text[-back:]}"


def format_signed(value: float, digits: int = 1) -> str:
    """With its sign unless it is 0.

    >>> format_signed(-2.06), format_signed(-0.01), format_signed(-0.01, digits=3)
    ('-2.1', '0.0', '-0.010')
    """
    return f"{value:+.{digits}f}" if round(value, digits) else f"{0:.{digits}f}"


def format_hours(hours: float, unit: str) -> str:
    """A cost; below an hour in minutes, below a minute with two digits that count.

    >>> format_hours(0.0045, "GPU-hours"), format_hours(12.34, "hours of one core")
    ('0.27 GPU-minutes', '12.3 hours of one core')
    """
    if hours >= 1:
        return f"{hours:.1f} {unit}"
    minutes = 60 * hours
    shown = f"{minutes:.1f}" if minutes >= 1 else f"{minutes:.2g}"
    return f"{shown} {unit.replace('hours', 'minutes')}"


def format_rate(value: float | None) -> str:
    """Of BLEU, Inform or Success; empty where nothing is known."""
    return "" if value is None else f"{value:.1f}"


def format_share(share: float) -> str:
    """A probability or share in percent, never as certain as it is not.

    >>> format_share(0.484), format_share(0.001), format_share(0.9991)
    ('48 %', '<1 %', '>99 %')
    """
    if 0 < share < 0.01:
        return "<1 %"
    return ">99 %" if 0.99 < share < 1 else f"{100 * share:.0f} %"


def count_things(number: int, name: str) -> str:
    """
    >>> count_things(1, "trial"), count_things(12, "trial")
    ('1 trial', '12 trials')
    """
    return f"{number:,} {name}{'' if number == 1 else 's'}"


def format_count(count: float | None) -> str:
    """A number of parameters for a reader.

    >>> format_count(1_600_000), format_count(6_738_415_616), format_count(512)
    ('1.6M', '6.7B', '512')
    """
    if count is None:
        return ""
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{count / size:.1f}{unit}"
    return f"{count:.0f}"
