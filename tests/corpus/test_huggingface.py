"""Parquet mirrors of multi_woz_v22, converted here from the published layout: same dialogues."""

from __future__ import annotations

import json
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import datasets
import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from trainable.corpus import huggingface
from trainable.corpus.corpus import Corpus
from trainable.corpus.load import load_corpus
from trainable.corpus.multiwoz import SPLITS
from trainable.trial import ConfigError

Rows = list[dict[str, Any]]
REQUEST = httpx.Request("GET", "https://example.org")


def nest(rows: Rows, columns: tuple[str, ...], *, columnar: bool) -> Any:
    """A list of structs, or (as older versions of `datasets` wrote it) a struct of lists."""
    return {c: [row[c] for row in rows] for c in columns} if columnar else rows


def convert_turn(turn: dict[str, Any], act: dict[str, Any], *, columnar: bool) -> dict[str, Any]:
    frames = [
        {
            "service": frame["service"],
            "state": {
                "active_intent": frame["state"]["active_intent"],
                "requested_slots": frame["state"]["requested_slots"],
                "slots_values": nest(
                    [
                        {"slots_values_name": name, "slots_values_list": values}
                        for name, values in frame["state"]["slot_values"].items()
                    ],
                    ("slots_values_name", "slots_values_list"),
                    columnar=columnar,
                ),
            },
        }
        for frame in turn["frames"]
    ]
    columns = ("act_type", "act_slot_name", "act_slot_value", "span_start", "span_end")
    spans = [dict(zip(columns, span, strict=True)) for span in act.get("span_info", [])]
    names = ("slot_name", "slot_value")
    acts = [
        {
            "act_type": kind,
            "act_slots": nest(
                [dict(zip(names, pair, strict=True)) for pair in pairs], names, columnar=columnar
            ),
        }
        for kind, pairs in act.get("dialog_act", {}).items()
    ]
    return {
        "turn_id": turn["turn_id"],
        "speaker": int(turn["speaker"] == "SYSTEM"),
        "utterance": turn["utterance"],
        "frames": nest(frames, ("service", "state"), columnar=columnar),
        "dialogue_acts": {
            "dialog_act": nest(acts, ("act_type", "act_slots"), columnar=columnar),
            "span_info": nest(spans, columns, columnar=columnar),
        },
    }


@cache
def read(path: Path) -> Any:
    return json.loads(path.read_text())


def convert(folder: Path, split: str, *, columnar: bool, limit: int | None = None) -> Rows:
    acts = read(folder / "dialog_acts.json")
    dialogues = read(folder / split / "dialogues_001.json")
    columns = ("turn_id", "speaker", "utterance", "frames", "dialogue_acts")
    return [
        {
            "dialogue_id": d["dialogue_id"],
            "services": d["services"],
            "turns": nest(
                [
                    convert_turn(t, acts[d["dialogue_id"]].get(t["turn_id"], {}), columnar=columnar)
                    for t in d["turns"]
                ],
                columns,
                columnar=columnar,
            ),
        }
        for d in dialogues[:limit]
    ]


def write_mirror(
    source: Path, mirror: Path, layout: str, *, columnar: bool, limit: int | None = None
) -> None:
    """With the databases and goals of `source` beside the Parquet files."""
    for ours, theirs in SPLITS.items():
        path = mirror / layout.format(ours)
        path.parent.mkdir(parents=True, exist_ok=True)
        rows = convert(source, theirs, columnar=columnar, limit=limit)
        pq.write_table(pa.Table.from_pylist(rows), path)
    shutil.copytree(source / "db", mirror / "db")
    for name in ("goals.json", "booked_domains.json"):
        shutil.copy(source / name, mirror / name)


@pytest.mark.parametrize("columnar", [False, True])
@pytest.mark.parametrize(
    "layout", ["data/{}-00000-of-00001.parquet", "{}/0000.parquet", "v2.2/{}/0000.parquet"]
)
def test_a_mirror_gives_the_same_dialogues(
    small_folder: Path, own_cache: Path, tmp_path: Path, layout: str, columnar: bool
) -> None:
    write_mirror(small_folder, tmp_path / "mirror", layout, columnar=columnar)
    if layout.startswith("v2.2"):  # a second configuration beside it
        shutil.copytree(tmp_path / "mirror/v2.2", tmp_path / "mirror/v2.2_active_only")
    mirrored = load_corpus(str(tmp_path / "mirror"))
    assert mirrored.splits == load_corpus(str(small_folder)).splits
    assert mirrored.database.query("restaurant", {"food": "indian"}) == ("2",)


def test_a_state_stays_where_only_active_frames_are_kept(
    small_folder: Path, own_cache: Path, tmp_path: Path
) -> None:
    path = small_folder / "test/dialogues_001.json"
    whole = load_corpus(str(small_folder)).splits["test"]
    dialogues = json.loads(path.read_text())
    for dialogue in dialogues:
        first, _, third, *_ = dialogue["turns"]
        third["frames"][0]["service"] = "taxi"
        third["frames"][0]["state"]["slot_values"] = {"taxi-leaveat": ["9:00"]}
        assert first["frames"][0]["service"] == "restaurant"
    path.write_text(json.dumps(dialogues))
    read.cache_clear()
    write_mirror(small_folder, tmp_path / "mirror", "{}/0000.parquet", columnar=False)
    for mirrored, before in zip(
        load_corpus(str(tmp_path / "mirror")).splits["test"], whole, strict=True
    ):
        first = before.turns[0].state
        assert mirrored.turns[0].state == first == {"restaurant": {"food": "italian"}}
        assert mirrored.turns[1].state == {**first, "taxi": {"leaveat": "9:00"}}


@pytest.mark.slow
def test_real_dialogues_through_a_mirror(
    multiwoz_folder: Path, multiwoz: Corpus, own_cache: Path, tmp_path: Path
) -> None:
    layout = "data/{}-00000-of-00001.parquet"
    write_mirror(multiwoz_folder, tmp_path / "mirror", layout, columnar=False, limit=40)
    plain = datasets.load_dataset(str(tmp_path / "mirror" / "data"), cache_dir=str(tmp_path / "hf"))
    assert {split: len(rows) for split, rows in plain.items()} == dict.fromkeys(SPLITS, 40)
    for split, dialogues in load_corpus(str(tmp_path / "mirror")).splits.items():
        assert dialogues == multiwoz.splits[split][:40]


def test_a_dataset_id_is_fetched_from_the_hub(
    small_folder: Path, own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hub cannot be reached from a test: its snapshot is stood in for, empty on the main
    branch as that of a repository with a loading script."""
    write_mirror(small_folder, tmp_path / "hub", "v2.2/{}/0000.parquet", columnar=True)
    (tmp_path / "empty").mkdir()
    asked = []

    def snapshot(name: str, *, revision: str | None, **options: Any) -> str:
        asked.append((name, revision))
        return str(tmp_path / ("hub" if revision else "empty"))

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    corpus = load_corpus("someone/multi_woz_v22")
    assert corpus.splits == load_corpus(str(small_folder)).splits
    assert asked == [
        ("someone/multi_woz_v22", None),
        ("someone/multi_woz_v22", "refs/convert/parquet"),
    ]


def test_chats_of_a_dataset_id_and_of_a_part(
    own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing converted, rows in JSON lines, two configurations."""
    said = [{"role": "user", "content": "tea?"}, {"role": "assistant", "content": "yes"}]
    hub = tmp_path / "hub"
    for part in ("green", "black"):
        (hub / part).mkdir(parents=True)
        lines = [json.dumps({"messages": said})] * 5
        (hub / part / "train.jsonl").write_text("\n".join(lines))
    asked = []

    def snapshot(name: str, *, allow_patterns: list[str], revision: str | None, **more: Any) -> str:
        asked.append((name, revision))
        if revision:
            from huggingface_hub.errors import RevisionNotFoundError

            raise RevisionNotFoundError("none", response=httpx.Response(404, request=REQUEST))
        return str(hub)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot)
    corpus = load_corpus("someone/teas/green")
    assert corpus.kind == "chats" and sum(map(len, corpus.splits.values())) == 5
    assert asked[-1] == ("someone/teas", None)
    with pytest.raises(ConfigError, match=r"several parts \(black, green\): name one"):
        load_corpus("someone/teas")


def test_a_dataset_that_cannot_be_had_is_one_line(
    own_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for name in ("someone/not-in-the-cache", "no such dataset!"):
        with pytest.raises(ConfigError, match="must be cambridge, multiwoz, a folder or") as caught:
            load_corpus(name)
        assert "\n" not in str(caught.value)


def test_a_missing_split_or_column_is_named(
    small_folder: Path, own_cache: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    mirror = tmp_path / "mirror"
    write_mirror(small_folder, mirror, "{}/0000.parquet", columnar=False)
    path = mirror / "test/0000.parquet"
    whole = path.read_bytes()
    table = pq.read_table(path).rename_columns(["dialogue_id", "services", "exchanges"])
    pq.write_table(table, path)
    with pytest.raises(ConfigError, match=r"split test must have .*'turns'"):
        load_corpus(str(mirror))
    path.write_bytes(whole[:-100])
    with pytest.raises(ConfigError, match=r"split test cannot be read, first .*0000\.parquet"):
        load_corpus(str(mirror))
    path.unlink()
    with pytest.raises(ConfigError, match="no Parquet file of split test"):
        load_corpus(str(mirror))
    assert huggingface.find_tables(tmp_path / "nothing") == {}
    assert "Failed" not in capfd.readouterr().err
