"""The house's rule: imports point downwards only."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("tune", "search_spaces", "trainable", "analysis")
LEAVES = (  # standard library only
    *("trainable.trial", "trainable.system.garbage", "trainable.system.whole"),
)
    "trainable.trial",
    "trainable.system.garbage",
    "trainable.system.whole",
)  # standard library only
# package -> what of ours it may import
ALLOWED = {
    "tune": ("tune", "search_spaces", "trainable", "analysis"),
    "analysis": (
        *("analysis", "trainable.corpus", "trainable.evaluation"),
        *("trainable.storage.remote", "trainable.trial", "trainable.system.whole"),
    ),
    "search_spaces": ("search_spaces.space", "trainable.trial"),
    "trainable": ("trainable",),
    "trainable.corpus": ("trainable.corpus", "trainable.evaluation", *LEAVES),
    "trainable.evaluation": ("trainable.evaluation", "trainable.corpus", *LEAVES),
}
# package -> top-level modules it never imports, not even inside a function
FORBIDDEN = {
    "analysis": ("ray", "torch", "transformers", "peft"),
    "search_spaces": ("ray", "torch", "transformers", "peft"),
    "trainable.corpus": ("ray", "torch"),
    "trainable.evaluation": ("ray", "torch"),
    "trainable.engine": ("ray",),
    "trainable.model": ("ray",),
}
LIGHT = (
    "trainable/trial.py",
    "trainable/system/garbage.py",
    "trainable/system/whole.py",
    "trainable/worker/lease.py",
    "trainable/storage/checkpoint.py",
    "trainable/solo/toy.py",
)
# modules that `tune` uses with a function's import only, so that `--help` stays instant
HEAVY = ("torch", "ray", "transformers", "peft", "datasets")
RAY_ADAPTERS = ("bridge.py",)


def find_modules() -> list[Path]:
    return sorted(p for name in PACKAGES for p in (ROOT / name).rglob("*.py"))


def list_imports(path: Path, *, top_level_only: bool = False) -> set[str]:
    """Dotted names imported; those for type checking alone are left out."""
    found: set[str] = set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body if top_level_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: imports are absolute"
            found.add(node.module)
    return found


def lookup(table: dict[str, tuple[str, ...]], path: Path) -> tuple[str, ...]:
    """The entry of the innermost package that has one."""
    parts = path.relative_to(ROOT).parent.parts
    names = [".".join(parts[:n]) for n in range(len(parts), 0, -1)]
    return next((table[name] for name in names if name in table), ())


@pytest.mark.parametrize("path", find_modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_downwards(path: Path) -> None:
    imports = list_imports(path)
    ours = {name for name in imports if name.partition(".")[0] in PACKAGES}
    allowed = lookup(ALLOWED, path)
    assert not {n for n in ours if not any(n == a or n.startswith(f"{a}.") for a in allowed)}
    assert not {n for n in imports if n.partition(".")[0] in lookup(FORBIDDEN, path)}


def test_two_modules_of_trainable_import_ray() -> None:
    modules = [p for p in find_modules() if "trainable" in p.relative_to(ROOT).parts[0]]
    importers = {p.name for p in modules if any(n.startswith("ray") for n in list_imports(p))}
    assert importers == {"entry.py", "pooled.py"}


@pytest.mark.parametrize("name", LIGHT)
def test_light_modules_need_the_standard_library_alone(name: str) -> None:
    ours_or_plain = {n.partition(".")[0] for n in list_imports(ROOT / name)}
    assert not ours_or_plain & {"numpy", "torch", "ray", "optuna", "transformers", "sacrebleu"}


def test_commands_load_heavy_modules_late() -> None:
    for path in (ROOT / "tune").glob("*.py"):
        top = {n.partition(".")[0] for n in list_imports(path, top_level_only=True)}
        assert path.name in RAY_ADAPTERS or not top & set(HEAVY), path
