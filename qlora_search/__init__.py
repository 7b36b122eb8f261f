"""The QLoRA search as a library:

    from qlora_search import search
    result = search("lora_modules", base_model="tiny", trials=4)
    result.best.params, result.leaderboard, result.report()

`docs/python.md` tells the rest.
"""

from trainable.trial import ConfigError
from tune.api.asking import OpenSweep, Suggestion, open_sweep
from tune.api.result import Best, SweepResult
from tune.api.search import Callback, Event, resume, search

__all__ = [
    "Best",
    "Callback",
    "ConfigError",
    "Event",
    "OpenSweep",
    "Suggestion",
    "SweepResult",
    "open_sweep",
    "resume",
    "search",
]
