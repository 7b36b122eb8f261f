"""The notebooks run in one kernel: sweeps are started, then read, and the stored example too.
`WRITE_NOTEBOOKS=1 python -m pytest tests/analysis/test_notebooks.py` stores their outputs anew."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from made_sgd import bring_sgd

from analysis.figures import CATALOGUE
from analysis.notebook import NAME_CELL, NOTEBOOKS
from analysis.plots.style import NothingToPlot
from analysis.records import find_sweep, read_sweep
from analysis.static import DRAWN, draw_static
from analysis.submission import check_submission
from tune.__main__ import main

nbformat: Any = pytest.importorskip("nbformat", reason="needs nbformat (extra: test)")

ROOT = Path(__file__).parents[2]
NAMES = sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))
PLOTLY = "application/vnd.plotly.v1+json"


def read_notebook(name: str) -> Any:
    return nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)


def list_code(notebook: Any) -> list[str]:
    return [cell.source for cell in notebook.cells if cell.cell_type == "code"]


@pytest.mark.parametrize("name", NAMES)
def test_notebooks_are_short_calls_without_a_trace_of_the_machine(name: str) -> None:
    for source in list_code(read_notebook(name)):
        is_file = source.startswith("%%writefile ")  # one that users write
        assert is_file or not re.search(r"^\s*(def|class) ", source, re.MULTILINE)
    text = (NOTEBOOKS / f"{name}.ipynb").read_text()
    assert not any(place in text for place in ("/home/", "/root", "/work", "/tmp", str(ROOT)))


@pytest.mark.parametrize(("name", "page"), [("search", "python"), ("corpora", "corpus")])
def test_the_notebooks_that_search_are_the_documentation(name: str, page: str) -> None:
    text = (ROOT / f"docs/{page}.md").read_text()
    documented = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    shown = [re.sub(r"^%%writefile .*\n", "", code) for code in list_code(read_notebook(name))]
    assert [code.rstrip() for code in documented] == shown


def test_the_notebook_that_reads_shows_every_figure() -> None:
    shown = re.findall(r"sweep\.show\((.*)\)", "\n".join(list_code(read_notebook("sweep"))))
    assert sorted(json.loads(f"[{','.join(shown)}]")) == sorted(plot.id for plot in CATALOGUE)


SWEEPS = ("example/sweep", "example/decoding", "analysis/results/smollm2/modules")


@pytest.mark.parametrize("name", SWEEPS)
def test_every_figure_is_drawn_without_a_browser_and_read_in_two_sentences(name: str) -> None:
    records = read_sweep(find_sweep(name))
    for plot in CATALOGUE:
        try:
            figure = plot.draw(records)
        except NothingToPlot:
            continue
        if all(trace.type in DRAWN for trace in figure.data):
            draw_static(figure)
        told = plot.read(figure, records)
        n_sentences = told.count(". ") + told.endswith(".")
        assert n_sentences == 2, told
        assert not re.search(r"\bnan\b|None|\[|-0\.0\b|\{", told), told


def test_readings_say_what_the_records_hold() -> None:
    records = read_sweep(find_sweep("example/sweep"))
    told = {p.id: p.read(p.draw(records), records) for p in CATALOGUE[:3]}
    assert "trial 0015" in told["curves"].lower() and "103.1" in told["curves"]
    assert "5 of 16 trials trained for 1,600 turns" in told["curves"]
    assert told["history"].startswith("The best of those that trained longest, 103.1,")
    assert "16 trials reached 400 turns, 5 of them 1600" in told["funnel"]


def test_the_command_copies_them_with_the_sweeps_name(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert main(["notebook", "example/sweep", "--out", str(tmp_path / "here")]) == 0
    copied = nbformat.read(tmp_path / "here" / "sweep.ipynb", as_version=4)
    (cell,) = [code for code in list_code(copied) if code.startswith("NAME = ")]
    assert read_sweep(Path(json.loads(cell.removeprefix("NAME = ")))).name == "sweep"
    assert not any(c.outputs for c in copied.cells if c.cell_type == "code")
    assert "jupyter lab" in capsys.readouterr().out
    assert main(["notebook", "example/sweep", "--out", str(tmp_path / "here")]) == 2
    assert "is there already" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_they_run_one_after_another_in_a_new_kernel(tmp_path: Path) -> None:
    """The sweep that the one starts, and the example, are read by the other; a third searches
    three foreign sets."""
    nbclient: Any = pytest.importorskip("nbclient", reason="needs nbclient (extra: test)")
    pytest.importorskip("ipykernel", reason="needs ipykernel (extra: test)")
    search, corpora, colab = map(read_notebook, ("search", "corpora", "colab"))
    example, own = read_notebook("sweep"), read_notebook("sweep")
    for cell in own.cells:
        cell.source = cell.source.replace(NAME_CELL, "NAME = result.name")
    if not os.environ.get("WRITE_NOTEBOOKS"):  # to show that they run, less will do
        for cell in (*search.cells, *corpora.cells):
            for wanted, enough in LESS.items():
                cell.source = cell.source.replace(wanted, enough)
    for cell in colab.cells:  # on the embedded model, as it says for where there is no GPU
        for wanted, enough in ON_TWO_CORES.items():
            cell.source = cell.source.replace(wanted, enough)
    sgd = bring_sgd(tmp_path).name
    for cell in corpora.cells:  # of Schema-Guided Dialogue, which is downloaded, a part
        cell.source = cell.source.replace('corpus="sgd"', f'corpus="{sgd}"')
    first, last = map(nbformat.v4.new_code_cell, (START_RAY, CHECKS))
    books = (search, corpora, example, own, colab)
    every = nbformat.v4.new_notebook(
        cells=[first, *(cell for book in books for cell in book.cells), last]
    )
    for i, cell in enumerate(every.cells):
        cell.id = str(i)
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(every, timeout=540, resources=resources).execute()
    assert list((tmp_path / "runs").glob("*/report.html"))
    (answer,) = (tmp_path / "submitted").glob("*.json")
    check_submission(json.loads(answer.read_text()))
    told = "".join(o.get("text", "") for o in list_outputs(every))
    assert "| GPU model | CUDA | train [it/s] |" in told and (tmp_path / "replies.json").exists()
    drawn = [o for o in list_outputs(every) if PLOTLY in o.get("data", {})]
    assert len(drawn) > len(CATALOGUE)
    if os.environ.get("WRITE_NOTEBOOKS"):
        store(search, "search", tmp_path)
        store(corpora, "corpora", tmp_path)
        store(example, "sweep", tmp_path)


LESS = {
    'base_model="tiny"': 'base_model="toy"',
    '"trials": 2, "train_turns": 80': '"trials": 1, "train_turns": 16',
}
ON_TWO_CORES = {
    "%pip install --quiet $SOURCE": "",
    'name="colab", confirm=0': 'name="colab", confirm=0, base_model="tiny", corpus="cambridge", '
    'trials=1, train_turns=40, rungs=[], eval_dialogues=[2], fixed={"max_new_tokens": 16}',
    '"--profile", "colab"': '"--profile", "tiny"',
    '"20", "--dialogues", "16", "--pack", "8"': '"0.1", "--dialogues", "1"',
}
# one Ray for all sweeps, as quiet as a sweep's own
START_RAY = """import os, ray
from tune.workers.connect import SETTINGS
os.environ.update(SETTINGS)
settings = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
_ = ray.init("local", num_cpus=2, **settings)"""
CHECKS = """from qlora_search import open_sweep
assert result.best.score is not None and result.folder.is_dir()
compared = [open_sweep(f"lora_modules-0{n}").records.objective for n in (1, 2, 3)]
assert compared == ["loss", "is_right", "bleu"], compared"""


def list_outputs(notebook: Any) -> list[Any]:
    return [output for cell in notebook.cells for output in cell.get("outputs", [])]


def store(notebook: Any, name: str, ran_in: Path) -> None:
    """With a picture beside each figure, for where no script runs, and no trace of the machine."""
    import base64

    import plotly.graph_objects as go

    for i, cell in enumerate(notebook.cells):
        cell.id = f"{name}-{i:02d}"
        cell.metadata.pop("execution", None)  # when it ran
    for output in list_outputs(notebook):
        figure = go.Figure(output["data"][PLOTLY]) if PLOTLY in output.get("data", {}) else None
        if figure and all(trace.type in DRAWN for trace in figure.data):
            picture = draw_static(figure)._render("png")
            output["data"]["image/png"] = base64.b64encode(picture).decode()
    text = nbformat.writes(notebook).replace(f"{ran_in}/", "")
    (NOTEBOOKS / f"{name}.ipynb").write_text(text + "\n")
