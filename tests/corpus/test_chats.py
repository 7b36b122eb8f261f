"""Chats of any origin: JSON lines, JSON, Parquet; messages, conversations, pairs."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from trainable.corpus.load import load_corpus
from trainable.trial import ConfigError

Rows = list[dict[str, Any]]


def say(*texts: str, first: str = "user") -> Rows:
    roles = ("user", "assistant") if first == "user" else ("assistant", "user")
    return [{"role": roles[i % 2], "content": text} for i, text in enumerate(texts)]


def make_chats(n: int) -> Rows:
    return [{"messages": say(f"Is {i} even?", "Yes." if i % 2 == 0 else "No.")} for i in range(n)]


def write_lines(path: Path, rows: list[Any]) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(map(json.dumps, rows)) + "\n", encoding="utf-8")
    return str(path)


@pytest.fixture(autouse=True)
def cached_apart(own_cache: Path) -> None:
    """What is parsed is kept in a folder of this test's own."""


def test_one_file_is_split_by_dialogue_and_so_again(tmp_path: Path) -> None:
    place = write_lines(tmp_path / "chats.jsonl", make_chats(40))
    corpus = load_corpus(place)
    assert {split: len(ds) for split, ds in corpus.splits.items()} == {
        "train": 32,
        "validation": 4,
        "test": 4,
    }
    ids = [d.id for ds in corpus.splits.values() for d in ds]
    assert len(set(ids)) == 40 and corpus.kind == "chats"
    assert sum("held out" in note for note in corpus.notes) == 2
    (tmp_path / "again").mkdir()
    other = write_lines(tmp_path / "again" / "chats.jsonl", make_chats(40))
    assert load_corpus(other).splits == corpus.splits


def test_the_same_chats_in_every_layout_and_file(tmp_path: Path) -> None:
    texts = [("hello", "good day", "bye", "so long"), ("tea?", "yes"), ("milk?", "no"), ("?", "!")]
    messages = [{"messages": say(*four)} for four in texts]
    names = {"user": "human", "assistant": "gpt"}
    shared = [
        {
            "conversations": [
                {"from": names[m["role"]], "value": m["content"]} for m in r["messages"]
            ]
        }
        for r in messages
    ]
    trl = [{"prompt": r["messages"][:-1], "completion": r["messages"][-1:]} for r in messages]
    (tmp_path / "json").mkdir()
    (tmp_path / "json" / "train.json").write_text(json.dumps({"data": messages}))
    (tmp_path / "parquet" / "data").mkdir(parents=True)
    table = pa.Table.from_pylist(messages)
    parquet.write_table(table, tmp_path / "parquet/data/train-00000-of-00001.parquet")
    arrow = str(tmp_path / "train.arrow")
    with pa.OSFile(arrow, "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    feather = str(tmp_path / "train.feather")
    with pa.OSFile(feather, "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    places = [
        write_lines(tmp_path / "a" / "train.jsonl", messages),
        write_lines(tmp_path / "b" / "train.jsonl", shared),
        write_lines(tmp_path / "c" / "train.jsonl", trl),
        write_lines(tmp_path / "d" / "train.json", messages),  # lines by another name
        str(tmp_path / "json"),
        str(tmp_path / "parquet"),
        arrow,
        feather,
    ]
    first, *others = [load_corpus(place).splits for place in places]
    assert all(other == first for other in others)
    turns = [[(t.user, t.response) for t in d.turns] for ds in first.values() for d in ds]
    assert [("hello", "good day"), ("bye", "so long")] in turns


CALL = {"name": "find", "arguments": {"what": "tea"}}
CALLED = '<tool_call>\n{"name": "find", "arguments": {"what": "tea"}}\n</tool_call>'
FOUND = "<tool_response>\n[3]\n</tool_response>"
LAYOUTS: dict[str, tuple[dict[str, Any], str, list[tuple[str, str]]]] = {
    "ShareGPT with a system's text beside": (
        {
            "system": "Sell.",
            "conversations": [{"from": "human", "value": "tea?"}, {"from": "gpt", "value": "yes"}],
        },
        "Sell.",
        [("tea?", "yes")],
    ),
    "a system message of its own counts": (
        {
            "system_prompt": "Buy.",
            "messages": [{"role": "system", "content": "Sell."}, *say("tea?", "yes")],
        },
        "Sell.",
        [("tea?", "yes")],
    ),
    "messages as JSON in a text": (
        {"messages": json.dumps(say("tea?", "yes"))},
        "",
        [("tea?", "yes")],
    ),
    "messages as pandas prints them": (
        {"messages": str(say("tea?", "it's"))},
        "",
        [("tea?", "it's")],
    ),
    "texts in turn": (
        {"dialog": ["tea?", "yes", "milk?", "no"]},
        "",
        [("tea?", "yes"), ("milk?", "no")],
    ),
    "Alpaca": (
        {"instruction": "Translate.", "input": "tea", "output": "thé"},
        "",
        [("Translate.\ntea", "thé")],
    ),
    "Alpaca, nothing to be about": (
        {"Instruction": "Sing.", "Input": "", "Output": "la"},
        "",
        [("Sing.", "la")],
    ),
    "OpenOrca": (
        {"id": "1", "system_prompt": "Think.", "question": "tea?", "response": "yes"},
        "Think.",
        [("tea?", "yes")],
    ),
    "preferences as texts": (
        {"prompt": "tea?", "chosen": "yes", "rejected": "no"},
        "",
        [("tea?", "yes")],
    ),
    "preferences as whole conversations": (
        {"prompt": "tea?", "chosen": say("tea?", "yes"), "rejected": say("tea?", "no")},
        "",
        [("tea?", "yes")],
    ),
    "preferences as replies": (
        {"prompt": say("tea?"), "chosen": say("yes", first="assistant"), "rejected": []},
        "",
        [("tea?", "yes")],
    ),
    "preferences without a prompt": (
        {"chosen": say("tea?", "yes"), "rejected": say("tea?", "no")},
        "",
        [("tea?", "yes")],
    ),
    "messages and a reply's text": (
        {"prompt": [{"role": "system", "content": "Sell."}, *say("tea?")], "completion": "yes"},
        "Sell.",
        [("tea?", "yes")],
    ),
    "parts of content": (
        {
            "messages": [
                {"role": "USER", "content": ["tea", {"type": "input_text", "text": "or milk?"}]},
                {"role": "model", "content": [{"type": "output_text", "text": "tea"}]},
            ]
        },
        "",
        [("tea\nor milk?", "tea")],
    ),
    "OpenAI's older calls": (
        {
            "messages": [
                *say("tea?"),
                {
                    "role": "assistant",
                    "content": None,
                    "function_call": {**CALL, "arguments": '{"what": "tea"}'},
                },
                {"role": "function", "name": "find", "content": "[3]"},
                *say("three", first="assistant"),
            ]
        },
        "",
        [("tea?", CALLED), (FOUND, "three")],
    ),
    "calls that are said": (
        {
            "conversations": [
                {"from": "human", "value": "tea?"},
                {"from": "function_call", "value": json.dumps(CALL)},
                {"from": "observation", "value": "[3]"},
                {"from": "gpt", "value": "three"},
            ],
            "tools": "[]",
        },
        "",
        [("tea?", CALLED), (FOUND, "three")],
    ),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_rows_as_the_hub_has_them(tmp_path: Path, name: str) -> None:
    row, system, turns = LAYOUTS[name]
    corpus = load_corpus(write_lines(tmp_path / "c.jsonl", [row] * 3))
    (dialogue,) = corpus.splits["train"]
    assert dialogue.system == system
    assert [(turn.user, turn.response) for turn in dialogue.turns] == turns


PAIRS = [
    (f"is {i} even?", 'she said: "yes", so' if i % 2 == 0 else "no;\nit is odd") for i in range(9)
]


def spell_csv(rows: list[Any], delimiter: str = ",") -> str:
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter).writerows(rows)
    return text.getvalue()


def spell_lines(end: str = "\n") -> str:
    return "".join(json.dumps({"prompt": p, "completion": c}) + end for p, c in PAIRS)


TITLES = ("prompt", "completion")
TORN = gzip.compress(b"{}\n" * 999, mtime=0)[:-9]  # a header without the time: a test's name
FILES: dict[str, bytes] = {
    "plain.jsonl": spell_lines().encode(),
    "bom.jsonl": spell_lines().encode("utf-8-sig"),
    "crlf.ndjson": spell_lines("\r\n\r\n").encode(),
    "from_powershell.jsonl": spell_lines("\r\n").encode("utf-16"),
    "UPPER.JSONL": spell_lines().encode(),
    "packed.jsonl.gz": gzip.compress(spell_lines().encode()),
    "packed.json.xz": lzma.compress(spell_lines().encode()),
    "commas.csv": spell_csv([TITLES, *PAIRS]).encode(),
    "from_excel.csv": spell_csv([TITLES, *PAIRS], ";").encode("utf-8-sig"),
    "tabs.tsv.bz2": bz2.compress(spell_csv([TITLES, *PAIRS], "\t").encode()),
    "messages.csv": spell_csv([["messages"], *([json.dumps(say(*p))] for p in PAIRS)]).encode(),
    "questions.json": json.dumps([{"question": p, "answer": c} for p, c in PAIRS]).encode(),
}


@pytest.mark.parametrize("name", FILES)
def test_the_same_pairs_in_every_kind_of_file(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(FILES[name])
    for place in (tmp_path / name, tmp_path):
        splits = load_corpus(str(place)).splits
        turns = [(t.user, t.response) for ds in splits.values() for d in ds for t in d.turns]
        assert sorted(turns) == sorted(PAIRS)


def test_one_json_file_may_hold_every_split(tmp_path: Path) -> None:
    sizes = {"train": 6, "dev": 2, "test": 3}
    place = tmp_path / "chats.json"
    place.write_text(json.dumps({name: make_chats(n) for name, n in sizes.items()}))
    corpus = load_corpus(str(place))
    assert [len(corpus.splits[s]) for s in ("train", "validation", "test")] == [6, 2, 3]
    assert not corpus.notes
    place.write_text(json.dumps({"train": make_chats(9), "dev": [*make_chats(2), {"text": "a"}]}))
    with pytest.raises(ConfigError, match=r"chats\.json, validation, row 3 has text"):
        load_corpus(str(place))


def test_files_of_splits_stay_apart(tmp_path: Path) -> None:
    for name, n in (("train", 6), ("my_dev", 2), ("test-00000-of-00001", 3)):
        write_lines(tmp_path / f"{name}.jsonl", make_chats(n))
    corpus = load_corpus(str(tmp_path))
    assert {split: len(ds) for split, ds in corpus.splits.items()} == {
        "train": 6,
        "validation": 2,
        "test": 3,
    }
    assert not corpus.notes


def test_what_is_no_chat_is_dropped_and_told(tmp_path: Path) -> None:
    bad = [
        {"messages": say("anyone?")},
        {"messages": []},
        {"messages": [*say("a"), *say("b", "c")]},
        {"messages": [*say("a", "b"), *say("c", first="assistant")]},
        {"messages": [*say("a", "b"), {"role": "system", "content": "c"}]},
        {"messages": say("a", " ")},
        {"messages": say("", "b")},
        {"messages": [{"role": "narrator", "content": "a"}, *say("b", "c")]},
        {"messages": [{"role": "user", "content": [{"type": "image"}]}, *say("b")]},
        {"messages": say("a\ud800", "b")},
        {"messages": "hello"},
        {"messages": ["hello"]},
        {"messages": [{"role": "user", "content": 2}, *say("b", first="assistant")]},
        {"messages": [*say("a"), {"role": "assistant", "content": None}]},
        {"messages": [*say("a"), {"role": "assistant", "content": None, "tool_calls": 3}]},
        {"messages": [*say("a"), {"role": "assistant", "content": ["b", {"type": "image"}]}]},
    ]
    corpus = load_corpus(write_lines(tmp_path / "chats.jsonl", [*make_chats(10), *bad]))
    assert sum(map(len, corpus.splits.values())) == 10
    told = [note for note in corpus.notes if "dropped" in note]
    assert sum(int(note.split()[1][:-1]) for note in told) == len(bad)
    assert "dropped 2: no assistant turn (first: chats.jsonl, row 11)" in told
    reasons = "\n".join(told)
    for reason in ("two user messages", "two assistant messages", "a system message after"):
        assert f"roles out of order: {reason}" in reasons
    for reason in ("empty content of the assistant", "'narrator'", "not text", "valid Unicode"):
        assert reason in reasons


def test_system_messages_tools_and_greetings_are_kept(tmp_path: Path) -> None:
    call = {"function": {"name": "find", "arguments": '{"what": "tea"}'}}
    rich = [
        {"role": "system", "content": "You sell tea."},
        {"role": "assistant", "content": "Welcome."},
        {"role": "user", "content": [{"type": "text", "text": "Any green?"}]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "[3]"},
        {"role": "assistant", "content": "Three."},
        {"role": "user", "content": "Thanks."},
    ]
    corpus = load_corpus(write_lines(tmp_path / "c.jsonl", [{"messages": rich}] * 3))
    dialogue = corpus.splits["train"][0]
    assert dialogue.system == "You sell tea."
    assert [turn.user for turn in dialogue.turns] == [
        "",
        "Any green?",
        "<tool_response>\n[3]\n</tool_response>",
    ]
    assert dialogue.turns[1].response == (
        '<tool_call>\n{"name": "find", "arguments": {"what": "tea"}}\n</tool_call>'
    )
    kept = "\n".join(corpus.notes)
    for what in ("system messages", "calls of tools", "assistant begins", "without an answer"):
        assert what in kept


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"text": "hello"}], r"c\.jsonl, row 1 has text: rename"),
        (
            [*make_chats(1), {"prompt": "a", "completion": "b"}],
            "must have one layout: c.jsonl, row 2",
        ),
        (["hello"], "must be an object, and c.jsonl, row 1 is str"),
        (make_chats(2), "to train on and to hold out, and has 2"),
        ([{"messages": say("a")}] * 5, "can be used: dropped 5: no assistant turn"),
        ([], "can be used"),
    ],
)
def test_a_file_that_is_no_corpus_is_one_line(
    tmp_path: Path, rows: list[Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load_corpus(write_lines(tmp_path / "c.jsonl", rows))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("torn.jsonl", b'{"messages": []}\n{"mess', r"torn\.jsonl cannot be read \(line 2"),
        ("torn.json", b'[{"messages": []}, {"mess', r"torn\.json cannot be read"),
        ("torn.parquet", b"PAR1", r"torn\.parquet cannot be read"),
        ("torn.arrow", b"ARROW1", r"torn\.arrow cannot be read"),
        (
            "torn.jsonl.gz",
            gzip.compress(b"{}\n" * 999, mtime=0)[:-9],
            r"torn\.jsonl\.gz cannot be read",
        ),
        ("no.jsonl.gz", b"{}", r"no\.jsonl\.gz cannot be read"),
        ("no.jsonl.xz", b"{}", r"no\.jsonl\.xz cannot be read"),
        ("latin.jsonl", b'{"prompt": "caf\xe9"}', "must be text in UTF-8, and is not at byte 15"),
        ("deep.jsonl", b"[" * 100_000, r"deep\.jsonl cannot be read"),
        ("empty.jsonl", b"", "no dialogue of split train"),
        ("empty.json", b"", r"empty\.json cannot be read"),
        ("empty.csv", b"", "no dialogue of split train"),
        ("wide.csv", b"prompt,completion\na,b,c\n", r"\(line 2: more cells than the first"),
        ("short.csv", b"prompt,completion\na,b\nc\n", r"short\.csv, row 2 has prompt: rename"),
        ("open.csv", b'prompt,completion\na,"b\n', r"open\.csv cannot be read \(unexpected end"),
        ("alone.json", b'{"test": [{"prompt": "a"}]}', r"alone\.json, test, row 1 has prompt"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_line(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=message) as caught:
        load_corpus(str(tmp_path / name))
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_no_dataset_s_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_lines(tmp_path / "chats.jsonl", make_chats(9))
    monkeypatch.chdir(tmp_path)
    for name in ("chat.jsonl", str(tmp_path / "chat.jsonl")):
        with pytest.raises(ConfigError, match=r"does not \(did you mean chats\.jsonl\?\)"):
            load_corpus(name)


def test_files_that_are_not_enough_are_named(tmp_path: Path) -> None:
    write_lines(tmp_path / "alone" / "test.jsonl", make_chats(9))
    with pytest.raises(ConfigError, match="has files of test alone: add a file called train"):
        load_corpus(str(tmp_path / "alone"))
    for part in ("sports", "weather"):
        write_lines(tmp_path / "parts" / part / "train.jsonl", make_chats(9))
    with pytest.raises(ConfigError, match=r"several parts \(sports, weather\): name one"):
        load_corpus(str(tmp_path / "parts"))
    assert load_corpus(str(tmp_path / "parts" / "sports")).splits


def tell_turns(tmp_path: Path, row: dict[str, Any], name: str = "c.jsonl") -> list[tuple[str, str]]:
    path = tmp_path / name
    if path.suffix == ".parquet":
        parquet.write_table(pa.Table.from_pylist([row] * 3), path)
    else:
        write_lines(path, [row] * 3)
    dialogue = load_corpus(str(path)).splits["train"][0]
    return [(turn.user, turn.response) for turn in dialogue.turns]


@pytest.mark.parametrize(
    ("row", "turns"),
    [
        (
            {"instruction": "i2", "input": "", "output": "o2", "history": [["i1", "o1"]]},
            [("i1", "o1"), ("i2", "o2")],
        ),
        ({"context": "C", "question": "Q", "answer": "A"}, [("Q\nC", "A")]),
        ({"passage": "P", "prompt": "Q", "completion": "A"}, [("Q\nP", "A")]),
        ({"input": "Q", "output": "A", "context": None}, [("Q", "A")]),
        ({"prompt": "q", "completion": "a", "label": True}, [("q", "a")]),
        ({"prompt": "q", "chosen": json.dumps(say("q", "a"))}, [("q", "a")]),
        (
            {
                "messages": [
                    *say("q"),
                    {
                        "role": "assistant",
                        "content": [{"type": "text", "text": {"value": "a", "annotations": []}}],
                    },
                ]
            },
            [("q", "a")],
        ),
    ],
)
def test_what_stands_beside_a_question_is_read(
    tmp_path: Path, row: dict[str, Any], turns: list[tuple[str, str]]
) -> None:
    assert tell_turns(tmp_path, row) == turns


def test_a_prompt_s_system_message_stays_in_front_of_a_whole_chosen_conversation(
    tmp_path: Path,
) -> None:
    system = {"role": "system", "content": "Be brief."}
    row = {"prompt": [system, *say("q")], "chosen": say("q", "a")}
    place = write_lines(tmp_path / "c.jsonl", [row] * 3)
    assert load_corpus(place).splits["train"][0].system == "Be brief."


def test_completions_labelled_as_bad_are_dropped(tmp_path: Path) -> None:
    rows = [{"prompt": "q", "completion": f"a{n}", "label": n % 2 == 0} for n in range(12)]
    corpus = load_corpus(write_lines(tmp_path / "c.jsonl", rows))
    assert sum(map(len, corpus.splits.values())) == 6
    assert any("dropped 6: a completion that is labelled as bad" in n for n in corpus.notes)


def test_a_table_s_empty_arguments_are_none_of_a_call_s(tmp_path: Path) -> None:
    def call(**arguments: Any) -> dict[str, Any]:
        return {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"name": "f", "arguments": arguments}],
        }

    answer = {"role": "tool", "content": "<tool_response>\n1\n</tool_response>"}
    end = {
        "role": "assistant",
        "content": "done",
        "tool_calls": [{"name": None, "arguments": None}],
    }
    row = {"messages": [*say("q"), call(a=1), answer, call(b="x"), {**answer, "content": "2"}, end]}
    turns = tell_turns(tmp_path, {**row, "tools": "[]"}, "c.parquet")
    assert turns == [
        ("q", '<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>'),
        (
            "<tool_response>\n1\n</tool_response>",
            '<tool_call>\n{"name": "f", "arguments": {"b": "x"}}\n</tool_call>',
        ),
        ("<tool_response>\n2\n</tool_response>", "done"),
    ]
    notes = load_corpus(str(tmp_path / "c.parquet")).notes
    assert any("column tools is not read" in note for note in notes)


def test_files_that_are_not_read_are_told_or_are_none(tmp_path: Path) -> None:
    write_lines(tmp_path / "a/train.jsonl", make_chats(12))
    write_lines(tmp_path / "a/extra.jsonl", make_chats(3))
    corpus = load_corpus(str(tmp_path / "a"))
    assert "not read: extra.jsonl, whose name tells no split" in corpus.notes
    content = {"train": make_chats(8), "dev": make_chats(2), "validation": make_chats(3)}
    (tmp_path / "all.json").write_text(json.dumps(content))
    assert len(load_corpus(str(tmp_path / "all.json")).splits["validation"]) == 5


def test_caches_beside_a_saved_dataset_are_not_read(tmp_path: Path) -> None:
    table = pa.Table.from_pylist(make_chats(12))
    (tmp_path / "train").mkdir()
    for name in ("data-00000-of-00001.arrow", "cache-12ab.arrow"):
        with pa.ipc.new_stream(str(tmp_path / "train" / name), table.schema) as writer:
            writer.write_table(table)
    assert sum(map(len, load_corpus(str(tmp_path)).splits.values())) == 12
