"""All commands: `qlora-search NAME`, or `python -m MODULE`."""

from importlib import import_module
from types import ModuleType

# group -> name -> (module, what it does)
GROUPS: dict[str, dict[str, tuple[str, str]]] = {
    "a sweep": {
        "run": ("tune.run", "start a sweep, or go on with one (--resume NAME)"),
        "list": ("tune.list", "all sweeps, and how far each has come"),
        "status": ("tune.status", "one sweep's trials and scores, live"),
        "stop": ("tune.stop", "end a running sweep, or one trial of it"),
        "clone": ("tune.clone", "add a copy of a trial with some fields changed"),
        "propose": ("tune.propose", "submit a point for it to try"),
    },
    "its results": {
        "report": ("analysis.report", "the answer as one HTML page"),
        "figure": ("analysis.static", "one of the report's figures as SVG or PNG"),
        "notebook": ("analysis.notebook", "notebooks to read it in, and to start another"),
        "cost": ("analysis.cost", "what the answer cost, and would have cost by baselines"),
        "scaling": ("analysis.scaling", "the same sweep on more GPUs, side by side"),
        "track": ("tune.track", "send an ended sweep to MLflow, wandb, ..."),
        "submit": ("tune.submit", "write the answer as a record for a pull request"),
        "average": ("tune.average", "one adapter of several seeds'"),
        "export": ("tune.export.command", "its best adapter, to a folder or the Hub"),
    },
    "a model": {
        "generate": ("tune.generate", "the replies of an adapter or a model"),
        "evaluate": ("tune.evaluate", "score an adapter, a model or a file of replies"),
        "ceilings": ("tune.ceilings", "how far its replies, or its states, alone could go"),
        "sample": ("tune.sample", "its own best replies as a corpus to train on"),
        "baseline": ("tune.baseline", "the untuned model under the same evaluation"),
        "free": ("tune.free", "let a model write whole dialogues"),
    },
    "this machine": {
        "recommend": ("tune.recommend", "a configuration without a search, and what one would add"),
        "bench": ("tune.bench.command", "how fast it is, and what fits"),
        "simulate": ("tune.simulate.command", "compare search methods on simulated trials"),
    },
    "the commands": {
        "fields": ("tune.fields", "what --set may fix: ranges, choices, defaults"),
        "completion": ("tune.completion", "completion for bash, zsh or fish"),
    },
}
COMMANDS = {name: command for group in GROUPS.values() for name, command in group.items()}


def load(name: str) -> ModuleType:
    """The module of a command: `main(arguments) -> int`, `build_parser()`."""
    return import_module(COMMANDS[name][0])
