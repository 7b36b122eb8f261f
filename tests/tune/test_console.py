"""The console script and its siblings: names, help, nearest words, completion, a folder full of
namesakes, and what --json prints."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from inline import make_config, open_search, run_inline

from trainable.command.parser import UNTOLD
from tune.__main__ import main
from tune.commands import COMMANDS, load
from tune.search.config import FLAGS

ROOT = Path(__file__).parents[2]
# as pip writes it: beside no package of ours, with the name that a shell calls
SCRIPT = "import sys; sys.argv[0] = 'qlora-search'; import tune.__main__ as s; sys.exit(s.main())"


def call(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    """The console script in a folder of the user's."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    line = [sys.executable, "-P", "-c", SCRIPT, *arguments]
    return subprocess.run(line, cwd=folder, env=env, capture_output=True, text=True, timeout=200)


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With one sweep of the toy's in it: s."""
    storage = tmp_path_factory.mktemp("runs")
    run_inline(open_search(*make_config(storage, trials=4))[0])
    return storage


def test_the_overview_names_every_command(capsys: pytest.CaptureFixture) -> None:
    assert main([]) == 0
    told = capsys.readouterr().out
    assert all(re.search(rf"^  {name} +\w", told, re.MULTILINE) for name in COMMANDS)
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("qlora-search ")


@pytest.mark.parametrize("name", COMMANDS)
def test_help_tells_every_default(name: str, capsys: pytest.CaptureFixture) -> None:
    parser = load(name).build_parser()
    with pytest.raises(SystemExit) as ended:
        load(name).main(["--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert ended.value.code == 0 and parser.name == name and told.startswith("usage: ")
    for action in parser._actions:
        assert action.help, action
        if action.default not in UNTOLD:
            assert str(action.default) in told or ",".join(map(str, action.default)) in told


def test_every_flag_of_a_sweep_has_a_group_a_default_and_completion_of_its_name() -> None:
    parser = load("run").build_parser()
    told = {action.dest: action for action in parser._actions}
    assert all("(default: " in told[n].help or told[n].nargs == 0 for n in FLAGS)
    assert {flag.spell(name) for name, flag in FLAGS.items()} - {"--baseline"} <= {
        *parser.list_flags()
    }


@pytest.mark.parametrize(
    ("words", "near"),
    [
        (("stauts", "s"), "status"),
        (("run", "--trails", "3"), "--trials"),
        (("run", "--trails=3"), "--trials"),
        (("run", "--space", "lora_module"), "lora_modules"),
        (("run", "--space", "lora_modules", "--set", "lora_rnk=3"), "lora_rank"),
        (("run", "--profile", "tny"), "tiny"),
        (("status", "sweep-02", "--storage", "{storage}"), "sweep-01"),
        (("report", "sweep-02", "--storage", "{storage}"), "sweep-01"),
        (("fields", "learning_rat"), "learning_rate"),
    ],
)
def test_a_wrong_word_is_told_with_the_nearest_right_one(
    tmp_path: Path, capsys: pytest.CaptureFixture, words: tuple[str, ...], near: str
) -> None:
    (tmp_path / "sweep-01").mkdir()
    (tmp_path / "sweep-01" / "sweep.json").write_text("{}")
    try:
        code = main([word.format(storage=tmp_path) for word in words])
    except SystemExit as ended:
        code = int(str(ended.code))
    error = capsys.readouterr().err
    assert code == 2 and error.count("\n") == 1 and f"(did you mean {near}?)" in error


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("qlora-search st", {"status", "stop"}),
        ("qlora-search run --tra", {"--train-turns"}),
        ("qlora-search run --space lora_m", {"lora_modules"}),
        ("qlora-search run --set lora_r", {"lora_rank="}),
        ("qlora-search status --storage {storage} ", {"s"}),
    ],
)
def test_a_shell_completes_commands_flags_fields_spaces_and_sweeps(
    storage: Path, tmp_path: Path, line: str, offered: set[str]
) -> None:
    line = line.format(storage=storage)
    out = tmp_path / "out"
    told = {"_ARGCOMPLETE": "1", "COMP_LINE": line, "COMP_POINT": str(len(line))}
    call(tmp_path, **told, _ARGCOMPLETE_STDOUT_FILENAME=str(out), _ARGCOMPLETE_IFS="\n")
    assert offered <= {word.strip() for word in out.read_text().split("\n")}
    assert main(["completion", "bash"]) == 0


@pytest.fixture
def namesakes(tmp_path: Path) -> Path:
    """A folder in which a user has modules of his own with our packages' names."""
    for name in ("analysis", "tune", "search_spaces"):
        (tmp_path / f"{name}.py").write_text("raise RuntimeError('the user's own')")
    (tmp_path / "trainable").mkdir()
    (tmp_path / "trainable" / "__init__.py").write_text("raise RuntimeError('the user's own')")
    return tmp_path


def test_namesakes_in_the_working_folder_do_the_script_no_harm(
    namesakes: Path, storage: Path
) -> None:
    listed = call(namesakes, "list", "--storage", str(storage), "--json")
    assert json.loads(listed.stdout)["sweeps"][0]["name"] == "s", listed.stderr
    asked = call(namesakes, "run", "--space", "lora_modules", "--profile", "tiny", "--dry-run")
    assert asked.returncode == 0 and "are promoted" in asked.stdout, asked.stderr


@pytest.mark.nightly
def test_nor_to_the_workers_of_a_sweep(namesakes: Path) -> None:
    """Who find the folder's own modules all the same, for a function of the user's."""
    for name in ("datasets", "transformers", "queue"):
        (namesakes / f"{name}.py").write_text("raise RuntimeError('the user's own')")
    (namesakes / "beside.py").write_text("def count(texts):\n    return sum(map(len, texts))\n")
    own = "import beside\ndef said(dialogues, replies):\n    return beside.count(replies[0])\n"
    (namesakes / "own.py").write_text(own)
    flags = ("--space", "lora_modules", "--set", "base_model=toy", "--trials", "2", "--name", "s")
    more = ("--profile", "tiny", "--objective", "python:own.py:said", "--json")
    done = call(namesakes, "run", *flags, *more, RAY_ADDRESS="")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["trials"]["COMPLETE"] >= 1


@pytest.mark.parametrize(
    ("module", "hides"),
    [("tune.run", "analysis.py"), ("tune.list", "trainable"), ("analysis.report", "trainable")],
)
def test_python_m_tells_in_one_line_what_hides_a_package(
    tmp_path: Path, module: str, hides: str
) -> None:
    if hides.endswith(".py"):
        (tmp_path / hides).write_text("")
    else:
        (tmp_path / hides).mkdir()
        (tmp_path / hides / "__init__.py").write_text("")
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    line = [sys.executable, "-m", module, "--help"]
    done = subprocess.run(line, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert done.returncode and done.stderr.count("\n") == 1
    assert str(tmp_path / hides) in done.stderr and "qlora-search" in done.stderr


def documented(command: str) -> set[str]:
    """The keys of the first row of docs/commands.md that tells of the command's JSON."""
    lines = (ROOT / "docs" / "commands.md").read_text().splitlines()
    row = next(line for line in lines if line.startswith("| `") and f"`{command}`" in line)
    told = row.split("|")[2]
    return set(re.findall(r"`([a-z_]+)`", re.split(r": each|;|, with", told)[0]))


@pytest.mark.parametrize(
    "words",
    [
        ("list", "--storage", "{}"),
        ("status", "s", "--storage", "{}"),
        ("clone", "s", "0000", "--set", "learning_rate=0.004", "--storage", "{}"),
        ("propose", "s", "--set", "learning_rate=0.004", "--storage", "{}"),
        ("report", "s", "--storage", "{}"),
        ("scaling", "s", "--storage", "{}"),
        ("notebook", "s", "--storage", "{}", "--out", "{}/out"),
        ("simulate", "--trials", "3", "--seeds", "1", "--slots", "1", "--methods", "stop"),
        ("fields", "lora_rank"),
        ("completion", "zsh"),
    ],
    ids=lambda words: words[0],
)
def test_json_is_what_is_documented_and_nothing_else(
    storage: Path, tmp_path: Path, capsys: pytest.CaptureFixture, words: tuple[str, ...]
) -> None:
    copy = tmp_path / "runs"
    shutil.copytree(storage, copy)
    assert main([*(word.format(copy) for word in words), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told.pop("command") == words[0] and told.pop("format") == 1
    assert set(told) == documented(words[0])


def test_a_dry_run_tells_its_plan_as_json(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    flags = ("--space", "lora_modules", "--profile", "tiny", "--set", "base_model=toy")
    assert main(["run", *flags, "--dry-run", "--storage", str(tmp_path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert set(told) == {"command", "format"} | documented("run --dry-run")
    assert told["config"]["trials"] == 10 and told["cost"]["hours"] >= 0


def test_each_package_may_lie_in_a_folder_of_its_own(tmp_path: Path) -> None:
    """As on the nodes of a cluster, which get them one by one."""
    for name in ("tune", "analysis", "search_spaces", "trainable"):
        (tmp_path / f"of-{name}").mkdir()
        (tmp_path / f"of-{name}" / name).symlink_to(ROOT / name)
    paths = os.pathsep.join(map(str, tmp_path.glob("of-*")))
    line = [sys.executable, "-P", "-c", "import tune.run, analysis.records"]
    done = subprocess.run(line, env={**os.environ, "PYTHONPATH": paths}, capture_output=True)
    assert done.returncode == 0, done.stderr
