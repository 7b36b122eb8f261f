"""Makes the pictures of README and docs from recorded sweeps: the live table, a live page, the
report. Needs Chromium.

python docs/screenshots.py
"""

from __future__ import annotations

import io
import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

from playwright.sync_api import Browser, Page, sync_playwright
from rich.console import Console

from analysis.lines import Lines
from analysis.records import read_header
from analysis.report import offline, write_report
from analysis.serve import open_server
from tune.terminal.progress import SweepProgress
from tune.terminal.table import render

DOCS = Path(__file__).parent
PICTURES = DOCS / "pictures"
RESULTS = DOCS.parent / "analysis" / "results"
RUNNING, ENDED = RESULTS / "small_cards" / "race", RESULTS / "layers" / "layers"
SHOWN_EVENTS = 90  # of the running one's
COLUMNS = 96
SIZE = {"width": 1280, "height": 860}


def cut(source: Path, n_events: int, folder: Path) -> Path:
    """The sweep as its folder was after so many events."""
    shutil.copytree(source, folder)
    lines = (folder / "evals.jsonl").read_text().splitlines(keepends=True)
    (folder / "evals.jsonl").write_text("".join(lines[:n_events]))
    header = json.loads((folder / "sweep.json").read_text())
    (folder / "sweep.json").write_text(json.dumps({**header, "name": folder.name}))
    return folder


def draw_table(folder: Path, output: Path) -> None:
    """What the terminal shows meanwhile."""
    progress = SweepProgress({**read_header(folder), "name": folder.name})
    for line, event in Lines(folder).read_on():
        progress.ledger.add(event, line)
    console = Console(record=True, width=COLUMNS, height=40, file=io.StringIO())
    console.print(render(progress))
    console.save_svg(
        str(output), title=f"qlora-search run --space lora_modules --name {folder.name}"
    )


@contextmanager
def serving(folders: Sequence[Path]) -> Iterator[str]:
    with open_server(folders) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def open_page(browser: Browser, address: str) -> Page:
    page = browser.new_page(viewport=SIZE, color_scheme="light")
    page.goto(address)
    page.wait_for_timeout(1000)
    return page


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch, offline(), sync_playwright() as playwright:
        running = cut(RUNNING, SHOWN_EVENTS, Path(scratch) / "first")
        draw_table(running, PICTURES / "table.svg")
        chromium = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        with serving([running]) as address:
            open_page(browser, address).screenshot(path=PICTURES / "page.png")
        report = write_report(ENDED, Path(scratch) / "report.html")
        open_page(browser, report.as_uri()).screenshot(path=PICTURES / "report.png")
        browser.close()


if __name__ == "__main__":
    main()
