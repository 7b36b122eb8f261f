"""Bad predictions: one clear line each."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from trainable.evaluation.predictions import check_responses, read_predictions
from trainable.trial import ConfigError

TURNS = {"sng01": 2, "pmul02": 1}
GOOD: dict[str, Any] = {
    "sng01": [{"response": "a"}, {"response": "b", "state": {"hotel": {"area": "north"}}}],
    "pmul02": [{"response": "c", "active_domains": ["hotel", None]}],
}


def test_good_ones_pass() -> None:
    check_responses(GOOD, TURNS, partial=False)
    check_responses({"sng01": GOOD["sng01"]}, TURNS, partial=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pmul02": None}, "1 of 2 dialogues are missing .first: pmul02.*--partial"),
        ({"SNG01.json": []}, "'SNG01.json' is not in this split .did you mean sng01"),
        ({"pmul03": []}, "'pmul03' is not in this split .did you mean pmul02"),
        ({"sng01": [{"response": "a"}]}, "sng01 has 2 in the corpus, 1 in the predictions"),
        ({"pmul02": "text"}, "a dialogue must be a list of turns: pmul02 is str"),
        ({"pmul02": {"response": "c"}}, "a dialogue must be a list of turns: pmul02 is dict"),
        ({"pmul02": ["c"]}, "a turn must be .*pmul02, system turn 0: Expected `object`, got `str`"),
        ({"pmul02": [{"response": 5}]}, "pmul02.*Expected `str`, got `int` - at `.*response`"),
        ({"pmul02": [{"text": "c"}]}, "pmul02.*missing required field `response`"),
        (
            {"pmul02": [{"response": "c", "state": ["hotel"]}]},
            "got `array` - at `.*state`",
        ),
        ({"pmul02": [{"response": "c", "state": {"hotel": "north"}}]}, "got `str` - at `.*state"),
        (
            {"pmul02": [{"response": "c", "state": {"hotel": {"stars": 3}}}]},
            "Expected `str`, got `int`",
        ),
        ({"pmul02": [{"response": "c", "state": None}]}, "got `null` - at `.*state`"),
        ({"pmul02": [{"response": "c", "active_domains": "hotel"}]}, "Expected `array`, got `str`"),
        ({"pmul02": [{"response": "c", "active_domains": [{}]}]}, "at `.*active_domains"),
    ],
)
def test_bad_ones_are_refused_in_one_line(change: dict[str, Any], message: str) -> None:
    responses = {k: v for k, v in {**GOOD, **change}.items() if v is not None}
    with pytest.raises(ConfigError, match=message) as caught:
        check_responses(responses, TURNS, partial=False)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("responses", [{}, [], None])
def test_no_dialogues_at_all(responses: Any) -> None:
    with pytest.raises(ConfigError, match="there are none"):
        check_responses(responses, TURNS, partial=True)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("empty.json", b"", "0 bytes"),
        ("cut.json", b'{"sng01": [{"resp', "whole JSON file"),
        ("cut.json.gz", gzip.compress(json.dumps(GOOD).encode(), mtime=0)[:-9], "whole JSON file"),
        ("not.json.gz", b"{}", "whole JSON file"),
        ("list.json", b"[]", "holds list"),
        ("nothing.json", b"{}", "an empty object"),
        ("bytes.json", b"\xff\xfe\x00", "whole JSON file"),
    ],
)
def test_bad_files(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(ConfigError, match=message):
        read_predictions(path)


def test_a_file_that_is_not_there_and_one_that_is_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        read_predictions(tmp_path / "none.json")
    with pytest.raises(ConfigError, match="is not"):
        read_predictions(tmp_path)


def test_gzip_is_read(tmp_path: Path) -> None:
    path = tmp_path / "good.json.gz"
    path.write_bytes(gzip.compress(json.dumps(GOOD).encode()))
    assert read_predictions(path) == GOOD
