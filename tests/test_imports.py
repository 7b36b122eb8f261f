"""The house's rules, folder by folder: imports point downwards, and nothing goes in a circle.

Imports inside functions and under TYPE_CHECKING count: what needs a thing only to name it depends
on it all the same.
"""

import ast
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOORS = ("qlora_search", "tune", "analysis", "search_spaces", "trainable")
HEAVY = ("ray", "torch", "transformers", "peft", "datasets", "triton")
# room -> what of ours it may import besides itself; its innermost folder named here decides
MAY_IMPORT = {
    "qlora_search": ("tune.api", "trainable.trial", "trainable.result"),
    "tune": ("tune", "analysis", "search_spaces", "trainable"),
    "tune.search": ("analysis", "search_spaces", "trainable", "tune.folder"),
    "tune.folder": ("analysis", "search_spaces", "trainable"),
    "tune.terminal": ("analysis", "trainable"),
    "analysis": ("search_spaces.distributions", "trainable"),
    "search_spaces": ("trainable.trial", "trainable.system"),
    "trainable": ("trainable",),
    "trainable.system": ("trainable.trial", "trainable.training_curve"),
    "trainable.command": ("trainable.trial", "trainable.system", "trainable.storage"),
    "trainable.dialogue": ("trainable.trial", "trainable.system"),
    "trainable.corpus": (
        *("trainable.trial", "trainable.result"),
        *("trainable.system", "trainable.dialogue"),
    ),
    "trainable.evaluation": (
        *("trainable.trial", "trainable.result", "trainable.system"),
        *("trainable.dialogue", "trainable.corpus"),
    ),
    "trainable.storage": (
        *("trainable.trial", "trainable.result", "trainable.finetuner"),
        *("trainable.declared", "trainable.rank_pattern", "trainable.system"),
    ),
    "trainable.engine.kernels": (),
}
# library -> the rooms that alone may import it
ONLY_IN = {
    "ray": ("tune.workers", "tune.bench", "trainable.worker"),
    "triton": ("trainable.engine.kernels",),
    "torch": ("trainable.engine", "trainable.model", "trainable.solo", "tune"),
}
# standard library alone: loaded by every command and every worker
LIGHT = (
    "trainable.combinations",
    "trainable.declared",
    "trainable.rank_pattern",
    "trainable.errors",
    "trainable.trial",
    "trainable.result",
    "trainable.finetuner",
    "trainable.system.garbage",
    "trainable.system.whole",
    "trainable.worker.lease",
    "trainable.storage.checkpoint",
    "trainable.solo.toy",
)


def list_modules() -> dict[str, Path]:
    """Dotted name -> file; a package is its __init__.py. Records (analysis/results) are none."""
    files = (p for floor in FLOORS for p in (ROOT / floor).rglob("*.py"))
    paths = (p for p in files if "results" not in p.parts)
    dotted = {".".join(p.relative_to(ROOT).with_suffix("").parts): p for p in paths}
    return {name.removesuffix(".__init__"): path for name, path in dotted.items()}


MODULES = list_modules()


def list_imports(path: Path, *, top_level_only: bool = False) -> set[str]:
    """Dotted names imported, a module's own name where `from package import module` names one."""
    found: set[str] = set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body if top_level_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: imports are absolute"
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name if name in MODULES else node.module for name in inner}
    return found


IMPORTS = {name: list_imports(path) for name, path in MODULES.items()}


def room_of(module: str) -> str:
    is_package = MODULES[module].name == "__init__.py"
    return module if is_package else module.rpartition(".")[0]


def is_in(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def list_ancestors(room: str) -> list[str]:
    """The room, the one around it, and so on, innermost first."""
    parts = room.split(".")
    return [".".join(parts[:n]) for n in range(len(parts), 0, -1)]


def find_cycle(graph: dict[str, set[str]]) -> list[str]:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_file_imports_itself_by_way_of_others() -> None:
    assert not find_cycle({name: IMPORTS[name] & set(MODULES) for name in MODULES})


def test_no_room_imports_itself_by_way_of_others() -> None:
    graph: dict[str, set[str]] = {}
    for name, imports in IMPORTS.items():
        if name.startswith(("tune.", "trainable.")):
            rooms = {room_of(other) for other in imports & set(MODULES)}
            graph.setdefault(room_of(name), set()).update(rooms - {room_of(name), "analysis"})
    assert not find_cycle(graph)


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_imports_point_downwards(room: str) -> None:
    inside = [m for m in MODULES if next(r for r in list_ancestors(m) if r in MAY_IMPORT) == room]
    allowed = (room, *MAY_IMPORT[room])
    outside = {m: {n for n in IMPORTS[m] & set(MODULES) if not is_in(n, allowed)} for m in inside}
    assert inside and not {m: names for m, names in outside.items() if names}


@pytest.mark.parametrize("library", ONLY_IN)
def test_a_library_stays_in_its_rooms(library: str) -> None:
    users = {m for m, imports in IMPORTS.items() if any(is_in(n, (library,)) for n in imports)}
    assert users and not {m for m in users if not is_in(m, ONLY_IN[library])}


@pytest.mark.parametrize("name", LIGHT)
def test_light_modules_need_the_standard_library_alone(name: str) -> None:
    needed = {imported.partition(".")[0] for imported in IMPORTS[name]}
    assert not needed & {"numpy", "optuna", "sacrebleu", *HEAVY}


def test_commands_load_heavy_modules_late() -> None:
    """So that `--help` and a wrong flag are answered at once."""
    commands = [p for p in (ROOT / "tune").glob("*.py")]
    for path in commands:
        top = {n.partition(".")[0] for n in list_imports(path, top_level_only=True)}
        assert not top & set(HEAVY), path


@pytest.mark.parametrize(
    ("module", "library"),
    [
        ("trainable.worker.entry", "torch"),  # a toy's worker would load it for ten seconds
        ("tune.plan.new, tune.workers.packing", "ray"),  # before the token of Ray is settled
        pytest.param(  # a second and more of every process
            "trainable.model.base", "torch._inductor.compile_fx", marks=pytest.mark.nightly
        ),
    ],
)
def test_what_is_loaded_late(module: str, library: str) -> None:
    code = f"import sys, {module}; sys.exit({library!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
