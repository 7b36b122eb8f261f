"""The push by the Hub's own client, over HTTP on loopback, with faults."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hub_stand_in import READ_ONLY, TOKEN, Fault, Hub, serve
from huggingface_hub import HfApi, constants

from trainable.trial import ConfigError
from tune.export.command import main
from tune.export.push import Pushed, Target, push_folder

REPO = "user/dialogue"
TITLE = "Trial 0001 of small"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Hub]:
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)  # the stand-in speaks LFS
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    with serve() as hub:
        yield hub


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that the command, or the Hub's client in any thread, would have slept."""
    slept: list[float] = []
    sleep, here = time.sleep, threading.current_thread()

    def note(seconds: float) -> None:
        caller = sys._getframe(1).f_globals["__name__"].partition(".")[0]
        is_ours = threading.current_thread() is here or caller == "huggingface_hub"
        (slept.append if is_ours else sleep)(seconds)

    monkeypatch.setattr("time.sleep", note)
    return slept


@pytest.fixture(scope="session")
def exported(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("exported") / "out"
    names = ["--base-model-id", "me/tiny", "--dataset-id", "me/cambridge"]
    assert main([str(trained), "--out", str(out), *names]) == 0
    return out


@pytest.fixture
def push(hub: Hub, exported: Path, tmp_path: Path) -> Callable[..., Pushed]:
    def run(token: str | bool = TOKEN, repo: str = REPO, **settings: object) -> Pushed:
        api = HfApi(endpoint=hub.url, token=token)
        return push_folder(api, exported, Target(repo=repo, **settings), TITLE)

    return run


def files_of(folder: Path) -> dict[str, bytes]:
    found = (p for p in folder.rglob("*") if p.is_file())
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in found}


def without_attributes(files: dict[str, bytes]) -> dict[str, bytes]:
    return {name: content for name, content in files.items() if name != ".gitattributes"}


Push = Callable[..., Pushed]


def test_one_commit_then_none(push: Push, hub: Hub, exported: Path) -> None:
    pushed = push()
    assert pushed.is_new
    assert hub.commits(REPO) == 1
    assert hub.repos[REPO].private
    assert without_attributes(hub.repos[REPO].files("main")) == files_of(exported)
    again = push()
    assert not again.is_new
    assert again.url == pushed.url
    assert hub.commits(REPO) == 1


def test_public_branch_and_pull_request(push: Push, hub: Hub, exported: Path) -> None:
    push(is_public=True, revision="greedy")
    assert not hub.repos[REPO].private
    assert hub.commits(REPO) == 0
    assert without_attributes(hub.repos[REPO].files("greedy")) == files_of(exported)
    assert not push(revision="greedy").is_new
    opened = push(opens_pr=True)
    assert opened.is_new
    assert "/discussions/1" in opened.url
    assert push(opens_pr=True) == Pushed(url=f"{hub.url}/{REPO}/discussions/1", is_new=False)
    assert len(hub.repos[REPO].pull_requests) == 1
    assert hub.commits(REPO) == 0


def test_what_an_earlier_export_left_goes(push: Push, hub: Hub) -> None:
    old = ("merged/model.safetensors", "model-00001-of-00002.safetensors")
    hub.put(REPO, {**dict.fromkeys(old, b"old"), "notes.md": b"mine", ".gitattributes": b""})
    push()
    there = hub.repos[REPO].files("main")
    assert not {*old} & {*there}
    assert there["notes.md"] == b"mine"


@pytest.mark.parametrize(
    "fault",
    [
        Fault("GET", "whoami", 429, {"Retry-After": "7"}),
        Fault("POST", "repos/create", 429, {"Retry-After": "7"}),
        Fault("POST", "repos/create", 500),
        Fault("POST", "validate-yaml", 503),
        Fault("POST", "preupload", 500),
        Fault("POST", "objects/batch", 429, {"Retry-After": "7"}),
        Fault("PUT", "/lfs/", 500),
        Fault("PUT", "/lfs/"),  # cut in mid-upload
        Fault("POST", "/commit/", 500),
        Fault("POST", "/commit/", 429, {"Retry-After": "7"}),
        Fault("POST", "/commit/"),
        Fault("POST", "/commit/", after=True),  # done, but the answer is lost
    ],
    ids=lambda f: f"{f.path.strip('/')}-{f.status or 'cut'}{'-after' * f.after}",
)
def test_a_fault_is_outlasted(
    push: Push, hub: Hub, exported: Path, waits: list[float], fault: Fault
) -> None:
    hub.faults.append(fault)
    push()
    assert not hub.faults
    assert hub.commits(REPO) == 1
    assert without_attributes(hub.repos[REPO].files("main")) == files_of(exported)
    assert waits
    if "Retry-After" in fault.headers:
        assert max(waits) >= 7


def test_an_upload_goes_on_where_it_was_cut(push: Push, hub: Hub, waits: list[float]) -> None:
    hub.faults += [Fault("POST", "/commit/", 500)] * 6
    with pytest.raises(ConfigError, match="the Hub answered 500"):
        push()
    assert hub.commits(REPO) == 0
    uploads = [line for line in hub.seen if line.startswith("PUT")]
    push()
    assert hub.commits(REPO) == 1
    assert [line for line in hub.seen if line.startswith("PUT")] == uploads


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (Fault("GET", "whoami", 401), "does not accept the token"),
        (Fault("POST", "repos/create", 403), "has no right"),
        (Fault("POST", "preupload", 403), "has no right"),
        (Fault("POST", "/commit/", 403), "has no right"),
        (Fault("POST", "/commit/", 401), "does not accept the token"),
        (Fault("POST", "validate-yaml", 400), "the Hub answered 400"),
    ],
    ids=lambda v: v.path.strip("/") + str(v.status) if isinstance(v, Fault) else None,
)
def test_a_refusal_is_one_line_and_nothing_is_committed(
    push: Push, hub: Hub, waits: list[float], fault: Fault, message: str
) -> None:
    hub.faults.append(fault)
    with pytest.raises(ConfigError, match=message) as caught:
        push()
    assert "\n" not in str(caught.value)
    assert TOKEN not in str(caught.value)
    assert waits == []
    assert REPO not in hub.repos or hub.commits(REPO) == 0


def test_who_may_not_write(push: Push, hub: Hub) -> None:
    with pytest.raises(ConfigError, match="does not accept the token"):
        push(token="hf_forged")
    with pytest.raises(ConfigError, match="may only read"):
        push(token=READ_ONLY)
    with pytest.raises(ConfigError, match="namespace of the token's user"):
        push(repo="stranger/dialogue")
    with pytest.raises(ConfigError, match="don't have the rights"):
        push(repo="lab/dialogue")
    assert hub.repos == {}


def test_another_base_in_the_repository(push: Push, hub: Hub) -> None:
    config = b'{"base_model_name_or_path": "someone/else"}'
    hub.put(REPO, {"adapter_config.json": config, ".gitattributes": b""})
    with pytest.raises(ConfigError, match="holds an adapter of someone/else"):
        push()
    assert hub.commits(REPO) == 1


@pytest.mark.parametrize("there", [b'{"merged": {}}', None])
def test_an_adapter_and_a_merged_model_do_not_mix(
    push: Push, hub: Hub, exported: Path, tmp_path: Path, there: bytes | None
) -> None:
    if there:  # a merged model is there, and an adapter comes
        hub.put(REPO, {"trial.json": there, ".gitattributes": b""})
        with pytest.raises(ConfigError, match="holds a merged model, and this is an adapter"):
            push()
        return
    push()
    whole = Path(shutil.copytree(exported, tmp_path / "whole"))
    (whole / "adapter_config.json").unlink()
    with pytest.raises(ConfigError, match="holds an adapter, and this is a merged model"):
        push_folder(HfApi(endpoint=hub.url, token=TOKEN), whole, Target(repo=REPO), TITLE)


def test_leaderboard_and_report_as_a_dataset(
    hub: Hub, trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr("huggingface_hub.HfApi", lambda: HfApi(endpoint=hub.url, token=TOKEN))
    wanted = [str(trained), "--dataset-repo", "user/sweep", "--public"]
    assert main(wanted) == 0
    repo = hub.repos["datasets/user/sweep"]
    there = repo.files("main")
    assert {*there} == {
        *("README.md", "leaderboard.csv", "leaderboard.parquet", "report.html", ".gitattributes")
    }
    assert not repo.private
    assert b"data_files: leaderboard.parquet" in there["README.md"]
    assert b"| rank |" in there["README.md"]
    assert not any(b"secret-host" in content for content in there.values())
    assert not any(str(trained.parent).encode() in content for content in there.values())
    assert main(wanted) == 0  # again: nothing has changed
    assert hub.commits("datasets/user/sweep") == 1
    hub.put("datasets/user/mine", {"data.jsonl": b"mine", ".gitattributes": b""})
    assert main([str(trained), "--dataset-repo", "user/mine"]) == 2
    assert hub.commits("datasets/user/mine") == 1


def run_command(hub: Hub, home: Path, *arguments: object, **changes: str) -> tuple[int, str]:
    """The command in a process of its own, as a user starts it: (exit code, all it printed)."""
    ours = {"HF_ENDPOINT": hub.url, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1"}
    env = {k: v for k, v in os.environ.items() if not k.startswith(("HF_", "HUGGING"))}
    done = subprocess.run(
        [sys.executable, "-m", "tune.export", *map(str, arguments)],
        env={**env, "OMP_NUM_THREADS": "1", **ours, **changes},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.slow
def test_the_command(hub: Hub, trained: Path, tmp_path: Path) -> None:
    wanted = (trained, "--repo", REPO, "--base-model-id", "me/tiny", "--out", tmp_path / "out")
    code, printed = run_command(hub, tmp_path, *wanted)
    assert code == 2
    assert printed.splitlines()[-1].startswith("error: the Hub needs a token: log in with")
    assert hub.repos == {}
    code, printed = run_command(hub, tmp_path, *wanted, HF_TOKEN=TOKEN)
    assert code == 0, printed
    assert "pushed: " in printed
    assert TOKEN not in printed
    assert not any(TOKEN.encode() in content for content in files_of(tmp_path).values())
    assert hub.commits(REPO) == 1


def test_a_dry_run_sends_nothing(
    hub: Hub, trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("--repo", REPO, "--base-model-id", "me/tiny")
    assert main([str(trained), *names, "--dry-run"]) == 0
    printed = capsys.readouterr().out
    assert "a new repository would be private" in printed
    assert "adapter_model.safetensors" in printed
    assert hub.seen == []
