"""Sweeps on S3: a real server over HTTP, and no folder that two machines share."""

from __future__ import annotations

import json
import signal
import time
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from drivers import Sweep, compute_undisturbed
from inline import make_config
from test_search import summarise

from analysis.records import find_sweep, read_sweep
from trainable.result import ValidationRequest
from trainable.solo.toy import ToyFinetuner
from trainable.storage.checkpoint import keep_best_and_last, list_checkpoints, write_checkpoint
from trainable.storage.remote import Remote, fetch_checkpoints, fetch_sweep, locate
from trainable.storage.remote_checkpoints import prune, pull_last, push_checkpoint
from trainable.trial import ConfigError
from tune import baseline
from tune.folder import remote_lock
from tune.folder.lock import check_not_elsewhere, own_folder
from tune.folder.recorder import Recorder
from tune.run import main

STORAGE = "s3://bucket/team/sweeps"


@pytest.fixture
def s3(own_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A server of its own with one bucket; this machine's cache is empty."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    settings = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    reset = urllib.request.Request(f"{settings['AWS_ENDPOINT_URL']}/moto-api/reset", method="POST")
    urllib.request.urlopen(reset).close()  # its servers share one memory
    client = boto3.client("s3")
    client.create_bucket(Bucket="bucket")
    yield client
    server.stop()


def move_to_another_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QLORA_SEARCH_CACHE", str(tmp_path / "another"))


def list_keys(s3: Any) -> set[str]:
    found = s3.list_objects_v2(Bucket="bucket", Prefix="team/sweeps/s/")
    names = (item["Key"].removeprefix("team/sweeps/s/") for item in found.get("Contents", []))
    return {name for name in names if name and not name.endswith("/")}


@pytest.mark.slow
def test_checkpoints_travel_whole_and_only_the_needed_ones_stay(s3: Any, tmp_path: Path) -> None:
    remote, here = Remote(STORAGE).under("s", "checkpoints", "0"), tmp_path / "here"
    config, space = make_config(tmp_path)
    toy = ToyFinetuner(space.to_config(space.first[0], config.base))
    for turns in (25, 50, 75, 100):
        toy.train_until(turns)
        push_checkpoint(remote, write_checkpoint(here, toy, toy.evaluate(ValidationRequest(5))))
    kept = {str(c.turns_seen) for c in list_checkpoints(here)}
    assert {name.split("/")[0] for name in remote.list_files()} == kept and "100" in kept
    s3.delete_object(Bucket="bucket", Key="team/sweeps/s/checkpoints/0/100/toy.json")  # torn
    pull_last(remote, tmp_path / "there")
    assert [c.turns_seen for c in list_checkpoints(tmp_path / "there")] == [75, 100]
    prune(remote, has_ended=True)
    keep_best_and_last(here, has_ended=True)
    kept = {str(c.turns_seen) for c in list_checkpoints(here)}
    assert {name.split("/")[0] for name in remote.list_files()} == kept
    remote.remove()
    assert not remote.list_files()


def test_a_bucket_that_is_not_there_is_one_line(
    s3: Any, capsys: pytest.CaptureFixture, tmp_path: Path
) -> None:
    toy = ("--space", "lora_modules", "--profile", "tiny", "--set", "base_model=toy")
    assert main([*toy, "--storage", "s3://nowhere/x"]) == 2
    error = capsys.readouterr().err
    assert "--storage s3://nowhere/x cannot be used" in error and error.count("\n") == 1


@pytest.fixture
def quick_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote_lock, "RENEW_S", 0.1)
    monkeypatch.setattr(remote_lock, "PATIENCE_S", 2.0)


@pytest.mark.usefixtures("quick_lock")
def test_a_sweep_has_one_driver_on_all_machines(
    s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with own_folder(Path(locate(STORAGE)) / "s"):
        move_to_another_machine(tmp_path, monkeypatch)
        there = Path(locate(STORAGE)) / "s"
        with pytest.raises(ConfigError, match="is running elsewhere \\(process"):
            own_folder(there).__enter__()
        with pytest.raises(ConfigError, match="give the command there"):
            check_not_elsewhere(there)
    assert "pulse.json" not in list_keys(s3)
    Remote(STORAGE).under("s").write("pulse.json", b'{"id": ""}')  # of a driver that was killed
    with own_folder(there):
        check_not_elsewhere(there)


@pytest.mark.usefixtures("quick_lock", "s3")
def test_who_drives_next_has_the_last_driver_s_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = Path(locate(STORAGE)) / "s"
    with own_folder(here):
        recorder = Recorder(here)
        recorder.record_note("first")
        with monkeypatch.context() as elsewhere:
            move_to_another_machine(tmp_path, elsewhere)
            there = Path(locate(STORAGE)) / "s"
            fetch_sweep(there)
        recorder.record_note("last")
    with monkeypatch.context() as elsewhere:
        move_to_another_machine(tmp_path, elsewhere)
        with own_folder(there):
            Recorder(there).record_note("mine")
    texts = Remote(STORAGE).under("s").read("evals.jsonl")
    assert texts is not None and [json.loads(line)["text"] for line in texts.splitlines()] == [
        "first",
        "last",
        "mine",
    ]


@pytest.mark.usefixtures("quick_lock", "s3")
def test_a_driver_that_was_taken_for_dead_ends(
    capsys: pytest.CaptureFixture, request: pytest.FixtureRequest
) -> None:
    remote = Remote(STORAGE).under("s")
    request.addfinalizer(partial(signal.signal, signal.SIGTERM, signal.getsignal(signal.SIGTERM)))
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with pytest.raises(KeyboardInterrupt), own_folder(Path(locate(STORAGE)) / "s"):
        for _ in range(600):  # interrupted; the other renews its lock, which ours may write over
            remote.write("pulse.json", b'{"id": "other", "pid": 7, "host": "b", "age_s": 3.0}')
            time.sleep(0.1)
    assert "process 7 on b, for 3 s has taken the sweep over" in capsys.readouterr().err
    assert remote.read("pulse.json") is not None  # it is the other's


def test_storages_of_like_names_have_folders_of_their_own(own_cache: Path) -> None:
    assert locate("s3://lab/runs_x") != locate("s3://lab_runs/x")


def test_the_untuned_model_alone_on_s3(s3: Any) -> None:
    toy = ["--profile", "tiny", "--set", "base_model=toy", "--name", "s", "--dialogues", "4"]
    assert baseline.main([*toy, "--storage", STORAGE]) == 0
    assert {"evals.jsonl", "leaderboard.md"} <= list_keys(s3)


@pytest.mark.slow
@pytest.mark.parametrize("pack", [pytest.param("1", marks=pytest.mark.nightly), "2"])
def test_a_sweep_killed_on_one_machine_goes_on_on_another(
    s3: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pack: str
) -> None:
    flags = ("--set", "base_model=toy:0.001", "--trials", "4", "--pack", pack, "--asha", "off")
    watched = {"QLORA_SEARCH_PULSE_PATIENCE_S": "12"}  # for the lock of the driver that is killed
    sweep = Sweep(tmp_path / "sweep", flags, watched, address=STORAGE)
    driver = sweep.start()
    sweep.await_evals(4)
    driver.kill()
    driver.wait()
    move_to_another_machine(tmp_path, monkeypatch)
    sweep.run()
    undisturbed = compute_undisturbed(tmp_path, "toy:0.001", trials=4, asha="off")
    assert summarise(sweep.records) == summarise(undisturbed)
    assert 0 <= sweep.count_repeated() <= int(pack)
    keys = list_keys(s3)
    assert {"sweep.json", "evals.jsonl", "leaderboard.md", "trials/0000/dialogues.json"} <= keys
    monkeypatch.setenv("QLORA_SEARCH_CACHE", str(tmp_path / "third"))
    folder = find_sweep(f"{STORAGE}/s")
    assert summarise(read_sweep(folder)) == summarise(undisturbed)
    assert not (folder / "checkpoints").exists()
    kept = list_checkpoints(fetch_checkpoints(folder, "0001"))
    assert [c.turns_seen for c in kept] == [1600]
