"""Reports over HTTP, kept current: read-only, for this machine, without a reload."""

import http.client
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from synthetic import write_sweep

from analysis.report import main
from analysis.serve import open_server


@contextmanager
def serving(*folders: Path) -> Iterator[int]:
    with open_server(folders) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server.server_port
        server.shutdown()


def ask(port: int, path: str, method: str = "GET", **headers: str) -> tuple[int, str, Any]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    return answer.status, answer.read().decode(), answer.headers


def end_trial(folder: Path) -> None:
    """What a driver writes when the first of its running trials has ended."""
    events = [json.loads(line) for line in (folder / "evals.jsonl").read_text().splitlines()]
    ended = {e["trial"] for e in events if e["event"] == "end"}
    trial = next(e["trial"] for e in events if e["event"] == "trial" and e["trial"] not in ended)
    line = {"event": "end", "trial": trial, "state": "FAIL", "reason": "stopped by hand"}
    with (folder / "evals.jsonl").open("a") as file:
        file.write(json.dumps({**line, "time_s": 2e9}) + "\n")


def test_one_sweep_its_trials_and_its_version(tmp_path: Path) -> None:
    folder = write_sweep(tmp_path / "one", trials=8, unfinished=2)
    with serving(folder) as port:
        status, _, headers = ask(port, "/")
        assert (status, headers["Location"]) == (302, "/one/")
        page = ask(port, "/one/")[1]
        assert "The page keeps itself current." in page and "python -m tune.stop one" in page
        assert "[name]" in ask(port, "/one/trials/0000")[1]
        before = ask(port, "/one/version")[1]
        assert ask(port, "/one/version")[1] == before
        end_trial(folder)
        assert ask(port, "/one/version")[1] != before
        part = ask(port, "/one/part")[1]
        assert "stopped by hand" in part and len(part) < len(page) / 2  # without plotly


@pytest.mark.parametrize(
    ("path", "method", "headers", "status"),
    [
        ("/one/", "POST", {}, 501),
        ("/one/", "GET", {"Host": "elsewhere.example:80"}, 403),
        ("/two/", "GET", {}, 404),
        ("/one/../../etc/passwd", "GET", {}, 404),
        ("/one/trials/9999", "GET", {}, 404),
    ],
)
def test_what_is_refused(
    tmp_path: Path, path: str, method: str, headers: dict[str, str], status: int
) -> None:
    with serving(write_sweep(tmp_path / "one", trials=2)) as port:
        assert ask(port, path, method, **headers)[0] == status


def test_sweeps_side_by_side(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = ("one", "two")
    folders = [write_sweep(tmp_path / name, trials=6) for name in names]
    with serving(*folders) as port:
        page = ask(port, "/")[1]
        assert all(f'href="/{name}/"' in page for name in names)
        assert "The highest so far" in page
    assert main([*map(str, folders)]) == 2
    assert "need --serve" in capsys.readouterr().err


@pytest.mark.slow
def test_the_page_follows_without_a_reload(browser: Any, tmp_path: Path) -> None:
    folder = write_sweep(tmp_path / "one", trials=12, unfinished=2)
    page = browser.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    with serving(folder) as port:
        page.goto(f"http://127.0.0.1:{port}/one/")
        page.evaluate("window.isTheSame = true")
        page.locator("#board th", has_text="Bleu").locator("button").click()
        page.get_by_label("Filter").fill("turns > 0")
        end_trial(folder)
        page.locator("#failures", has_text="stopped by hand").wait_for(timeout=60_000)
        assert page.evaluate("window.isTheSame")
        assert page.get_by_label("Filter").input_value() == "turns > 0"
        bleu = page.locator("#board th", has_text="Bleu")
        assert bleu.get_attribute("aria-sort") == "descending"
        page.locator("button.open").first.click()
        page.get_by_role("dialog").locator("h3", has_text="Dialogues").wait_for()
    page.locator("#live", has_text="server has ended").wait_for(timeout=60_000)
    assert faults == []
    page.close()
