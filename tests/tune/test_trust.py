"""What somebody else wrote: no name in it leads out of the sweep's folder, whatever it says."""

import json
from pathlib import Path
from typing import Any

import pytest
from inline import make_config, open_search, run_inline

from analysis.records import read_sweep
from analysis.report import write_report
from trainable.storage.checkpoint import find_last_whole, is_whole, list_checkpoints
from trainable.storage.remote import Remote, find_remote, locate
from trainable.storage.remote_checkpoints import prune, pull_last
from trainable.system.environment import TRUST_REMOTE_CODE
from trainable.system.inside import check_links, is_below, stay_inside
from trainable.trial import ConfigError, TrialConfig
from trainable.worker.wire import Files
from tune import baseline, evaluate, run
from tune.folder.lock import find_owner, own_folder, read_since
from tune.folder.requests import FOLDER, read_requests, send
from tune.search.clones import locate_adapter
from tune.search.config import SweepConfig

ODD = ("../../victim", "..", "", ".", "a/../../victim", "a\nb", "a\0b", "a\x1b[2J", "a\\b", "a//b")


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A folder beside the sweep's, with something like a checkpoint in it."""
    place = tmp_path / "victim"
    (place / "400").mkdir(parents=True)
    (place / "400" / "manifest.json").write_text('{"turns_seen": 400, "combined": 1, "files": {}}')
    (place / ".4-1").mkdir()
    (place / "kept").write_text("mine")
    return place


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A sweep of two complete trials that a third may join."""
    config, space = make_config(tmp_path / "runs", trials=3, asha="stop")
    search, _ = open_search(config, space)
    search.config = make_config(tmp_path / "runs", trials=2, asha="stop")[0]
    run_inline(search)
    return config.folder


def list_all(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


def append(folder: Path, *events: dict[str, Any]) -> None:
    with (folder / "evals.jsonl").open("a") as file:
        file.writelines(json.dumps(event) + "\n" for event in events)


@pytest.mark.parametrize("name", ODD)
def test_no_odd_name_is_below_a_folder(tmp_path: Path, name: str) -> None:
    assert not is_below(name)
    with pytest.raises(ConfigError, match="leads out of"):
        stay_inside(tmp_path, name)
    with pytest.raises(ConfigError, match="--name must be a plain folder name"):
        make_config(tmp_path, name=name)


def test_a_link_leads_out_but_not_where_it_stays_inside(tmp_path: Path, victim: Path) -> None:
    folder = tmp_path / "sweep"
    (folder / "checkpoints" / "0001").mkdir(parents=True)
    (folder / "latest").symlink_to("checkpoints/0001")
    (folder / "wandb").mkdir()
    (folder / "wandb" / "debug.log").symlink_to(victim / "kept")  # wandb's own custom
    check_links(folder)
    assert stay_inside(folder, "latest/0001") == folder / "latest" / "0001"
    (folder / "checkpoints" / "0002").symlink_to(victim)
    with pytest.raises(ConfigError, match="checkpoints/0002 is a link out of the sweep's folder"):
        check_links(folder)
    with pytest.raises(ConfigError, match="leads out of"):
        stay_inside(folder, "checkpoints/0002")


@pytest.mark.parametrize("how", ["relative", "absolute", "odd"])
def test_a_trial_called_like_a_path_removes_nothing_on_resume(
    folder: Path, victim: Path, how: str, capsys: pytest.CaptureFixture
) -> None:
    """The finding: a third trial that would be settled as pruned, and its checkpoints removed."""
    name = {"relative": "../../../victim", "absolute": str(victim), "odd": "3\x1b[2J"}[how]
    lines = [json.loads(line) for line in (folder / "evals.jsonl").read_text().splitlines()]
    begun = next(e for e in lines if e["event"] == "trial" and e["number"] == 1)
    scored = next(e for e in lines if e["event"] == "eval" and e["turns_seen"] == 400)
    before = list_all(victim)
    append(
        folder,
        {**begun, "trial": name, "number": 2},
        {**scored, "trial": name, "combined": 0.0},
    )
    assert not [t for t in read_sweep(folder).trials if t.id == name]
    assert run.main(["--resume", "s", "--storage", str(folder.parent), "--trials", "2"]) == 0
    assert list_all(victim) == before
    assert "\x1b[2J" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "link", ["checkpoints", "checkpoints/0000", "trials", FOLDER, "evals.jsonl", ".lock"]
)
def test_a_sweep_with_a_link_out_of_it_is_not_driven(
    folder: Path, victim: Path, link: str, capsys: pytest.CaptureFixture
) -> None:
    place, target = folder / link, victim if "." not in link else victim / "kept"
    if place.exists():
        place.rename(folder.parent / "aside")
    place.symlink_to(target)
    before = list_all(victim)
    assert run.main(["--resume", "s", "--storage", str(folder.parent), "--trials", "3"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and f"{link} is a link out of the sweep's folder" in error
    assert list_all(victim) == before and (victim / "kept").read_text() == "mine"
    assert not (folder / "owner.json").exists()


def test_a_lock_or_a_request_is_not_written_through_a_link(folder: Path, victim: Path) -> None:
    (folder / ".lock").unlink(missing_ok=True)
    (folder / ".lock").symlink_to(victim / "kept")
    (folder / FOLDER).symlink_to(victim)
    with pytest.raises(ConfigError, match="leads out of"):
        find_owner(folder)
    with pytest.raises(ConfigError, match="leads out of"):
        send(folder, "stop", {"trial": None, "now": True})
    with pytest.raises(ConfigError, match="link out"), own_folder(folder):
        pass
    assert (victim / "kept").read_text() == "mine"


@pytest.mark.parametrize(
    "content",
    [
        *("", "[]", "{", '{"verb": "stop"}', '{"verb": "rm", "values": {"trial": null}}'),
        '{"verb": "clone", "values": {"trial": "0001", "set": 3, "warm": true}}',
    ],
)
def test_a_request_that_cannot_be_read_is_answered(folder: Path, content: str) -> None:
    from test_request_handler import open_handler

    (folder / FOLDER).mkdir()
    (folder / FOLDER / "1-2.json").write_text(content)
    assert [r.verb for r in read_requests(folder)] == [""]
    open_handler(folder.parent, trials=2)
    assert not list((folder / FOLDER).glob("1-2.json"))
    assert "is no request of this version's" in read_sweep(folder).notes[-1]


@pytest.mark.parametrize("text", ["[]", "3", '{"0": 1}', '{"0": {"bleu": 3}}', "[" * 100_000, ""])
def test_details_that_are_none_leave_a_report_without_them(folder: Path, text: str) -> None:
    """Of every kind of file beside the records, the driver's own among them."""
    details = [p for p in folder.rglob("*.json") if p.parent.parent.name == "trials"]
    assert {p.name for p in details} == {"dialogues.json", "responses.json", "training.json"}
    for path in (*details, folder / "owner.json", *folder.rglob("manifest.json")):
        path.write_text(text)
    write_report(folder)
    assert find_owner(folder) is None and read_since(folder) is None
    assert not list_checkpoints(folder / "checkpoints" / "0000")


def test_a_checkpoint_s_manifest_names_its_own_files_only(tmp_path: Path, victim: Path) -> None:
    folder = tmp_path / "checkpoints"
    place = folder / "400"
    place.mkdir(parents=True)
    for name in ("../../victim/kept", str(victim / "kept")):
        files = {name: {"bytes": 4, "crc32": 0}}
        text = json.dumps({"turns_seen": 400, "combined": 1, "files": files})
        (place / "manifest.json").write_text(text)
        assert not is_whole(place)
    (folder / "12abc").mkdir()  # somebody's own
    checkpoint, notes = find_last_whole(folder)
    assert checkpoint is None and len(notes) == 1
    (place / "manifest.json").write_text("[]")
    assert not is_whole(place) and not list_checkpoints(folder)


def test_an_adapter_of_the_sweep_s_own_lies_in_it(folder: Path) -> None:
    config = TrialConfig.from_dict(
        {**read_sweep(folder).searched[0].config, "adapter": "clones/../../../victim"}
    )
    with pytest.raises(ConfigError, match="leads out of"):
        locate_adapter(config, folder)


def test_files_from_another_node_or_a_storage_stay_in_their_folder(
    tmp_path: Path, victim: Path
) -> None:
    for name in ("../victim/kept", str(victim / "kept")):
        with pytest.raises(ConfigError, match="leads out of"):
            Files(contents={name: b"theirs"}).write(tmp_path / "here")
        with pytest.raises(ConfigError, match="leads out of"):
            Remote((tmp_path / "there").as_uri()).pull(tmp_path / "here", [name])
    (tmp_path / "here").mkdir(exist_ok=True)
    (tmp_path / "here" / "link").symlink_to(victim)
    with pytest.raises(ConfigError, match="leads out of"):
        Files(contents={"link/kept": b"theirs"}).write(tmp_path / "here")
    assert (victim / "kept").read_text() == "mine"


def test_a_storage_s_checkpoints_are_numbers(tmp_path: Path) -> None:
    """A manifest in the trial's own folder, or in one that no number names, is no checkpoint's."""
    there = tmp_path / "there"
    for place in ("", "abc/", "100/", "200/", "300/", "400/inner/"):
        (there / place).mkdir(parents=True, exist_ok=True)
        turns = place.split("/")[0]
        values = {"turns_seen": int(turns) if turns.isdigit() else 1, "combined": 0, "files": {}}
        (there / place / "manifest.json").write_text(json.dumps(values))
    prune(Remote(there.as_uri()), has_ended=True)  # keeps the best, the first, and the last
    assert (there / "manifest.json").exists() and (there / "abc").exists()
    assert sorted(p.name for p in there.glob("[0-9]*")) == ["100", "300", "400"]
    pull_last(Remote(there.as_uri()), tmp_path / "here")
    assert [p.name for p in (tmp_path / "here").iterdir()] == ["300"]


def test_a_mark_in_a_folder_that_somebody_sent_leads_nowhere(
    folder: Path, victim: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (folder.parent / ".remote").write_text(victim.as_uri())
    assert find_remote(folder) is None
    monkeypatch.setenv("QLORA_SEARCH_CACHE", str(tmp_path / "cache"))
    mine = Path(locate(victim.as_uri())) / "s"
    assert find_remote(mine) is not None


def test_a_header_s_own_name_and_storage_count_for_nothing(folder: Path, victim: Path) -> None:
    header = json.loads((folder / "sweep.json").read_text())
    header["name"] = "../../victim"
    header["config"] |= {"name": "../../victim", "storage": str(victim)}
    (folder / "sweep.json").write_text(json.dumps(header))
    before = list_all(victim)
    assert run.main(["--resume", "s", "--storage", str(folder.parent), "--trials", "2"]) == 0
    assert list_all(victim) == before
    with pytest.raises(ConfigError):
        SweepConfig.from_dict(header["config"])


@pytest.fixture
def armed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model's folder whose own Python leaves a mark where it is run."""
    monkeypatch.setenv(TRUST_REMOTE_CODE, "1")  # somebody's; put back after the test
    place = tmp_path / "armed"
    place.mkdir()
    code = f"open({str(tmp_path / 'mark')!r}, 'w').close()\nraise ImportError\n"
    (place / "novel.py").write_text(code)
    kinds = {"AutoConfig": "novel.A", "AutoModelForCausalLM": "novel.B", "AutoTokenizer": "novel.C"}
    (place / "config.json").write_text(json.dumps({"model_type": "novel", "auto_map": kinds}))
    (place / "tokenizer.json").write_text("{}")
    return place


def hand_over(folder: Path, base_model: Path) -> None:
    """The sweep as somebody sends it who had trusted the model."""
    header = json.loads((folder / "sweep.json").read_text())
    header["config"] |= {"trust_remote_code": True}
    header["space"]["fixed"] |= {"base_model": str(base_model), "quantisation": "fp32"}
    header["space"]["fixed"] |= {"double_quantisation": None}
    (folder / "sweep.json").write_text(json.dumps(header))


@pytest.mark.parametrize("command", ["run", "baseline"])
def test_a_record_of_trust_runs_no_code(
    folder: Path, armed: Path, command: str, capsys: pytest.CaptureFixture
) -> None:
    hand_over(folder, armed)
    flags = ["--storage", str(folder.parent)]
    if command == "run":
        assert run.main(["--resume", "s", *flags, "--trials", "3"]) == 2
    else:
        lines = (folder / "evals.jsonl").read_text().splitlines(keepends=True)
        (folder / "evals.jsonl").write_text("".join(n for n in lines if '"base"' not in n))
        assert baseline.main(["--sweep", str(folder), *flags]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "allow that with --trust-remote-code" in error
    assert not (armed.parent / "mark").exists()


def test_code_runs_where_this_command_trusts_it(folder: Path, armed: Path) -> None:
    hand_over(folder, armed)
    lines = (folder / "evals.jsonl").read_text().splitlines(keepends=True)
    (folder / "evals.jsonl").write_text("".join(n for n in lines if '"base"' not in n))
    flags = ["--sweep", str(folder), "--storage", str(folder.parent), "--trust-remote-code"]
    assert baseline.main(flags) != 0
    assert (armed.parent / "mark").exists()


def test_an_adapter_s_trial_gives_no_trust(armed: Path, tmp_path: Path) -> None:
    place = tmp_path / "adapter"
    place.mkdir()
    own = {"base_model_name_or_path": str(armed), "r": 8}
    (place / "adapter_config.json").write_text(json.dumps(own))
    told = {"base_model": str(armed), "trust_remote_code": True}
    (place / "trial.json").write_text(json.dumps({"config": told}))
    flags = ["--adapter", str(place), "--corpus", "cambridge", "--device", "cpu"]
    assert evaluate.main(flags) == 2
    start = ["--space", "lora_modules", "--profile", "tiny", "--storage", str(tmp_path / "r")]
    assert run.main([*start, "--set", f"adapter={place}", "--dry-run"]) == 2
    assert not (armed.parent / "mark").exists()
