"""The search from Python: what it gives is what it says."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from inline import make_config, open_search, run_inline

from qlora_search import ConfigError, Event, open_sweep, resume, search
from tune.api.settings import spell_fixed, spell_flags


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    storage = tmp_path_factory.mktemp("runs")
    run_inline(open_search(*make_config(storage, trials=6))[0])
    return storage


def test_a_result_has_numbers_curves_and_its_best(storage: Path) -> None:
    result = open_sweep("s", storage)
    board, best = result.leaderboard, result.best
    assert best is not None and best.score == board["Combined"].iloc[0]
    assert best.params["learning_rate"] == board["learning_rate"].iloc[0]
    numbers = ("Combined", "Combined low", "to first", "Bleu", "learning_rate", "turns")
    assert all(pd.api.types.is_numeric_dtype(board[name]) for name in numbers)
    curve = result.curves.query("trial == @best.trial")
    assert curve["turns"].is_monotonic_increasing and curve["combined"].iloc[-1] == best.score
    assert best.adapter is not None and best.adapter.is_dir()
    assert result.report().read_text().startswith("<!") and best.trial in repr(result)
    assert "<table" in result._repr_html_() and result.summary["trials"] and not result.is_running


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"space": "lora_module"}, r"did you mean lora_modules\?"),
        ({"space": {"lora_rnk": [1, 2]}}, r"did you mean lora_rank\?"),
        ({"space": "lora_modules", "trails": 3}, r"did you mean trials\?"),
        ({"space": "lora_modules", "trials": 0}, "--trials must be at least 1"),
        ({"space": "lora_modules", "base_model": 7}, "base_model must be a text"),
        ({"space": "lora_modules", "fixed": {"lora_rank": "wide"}}, "must be a whole number"),
        ({"space": "lora_modules", "fixed": ["lora_rank"]}, "fixed takes fields"),
        ({"space": "lora_modules", "corpus": Path("no.jsonl")}, "no.jsonl does not"),
        ({"space": "lora_modules", "trials": "many"}, "trials must be a whole number, not 'many'"),
        ({"space": "lora_modules", "trials": 2.5}, "trials must be a whole number, not 2.5"),
        ({"space": "lora_modules", "seeds": [1]}, "seeds must be a whole number"),
        ({"space": "lora_modules", "rungs": ["a"]}, "rungs must be whole numbers"),
        ({"space": "lora_modules", "eta": True}, "eta must be a number, not True"),
        ({"space": "lora_modules", "baseline": "no"}, "baseline must be True or False"),
        ({"space": "lora_modules", "objective": print}, "given as 'python:FILE:FUNCTION'"),
        ({"space": "lora_modules", "warm_start": "s"}, "no sweep .* is called 's'"),
        ({"space": "lora_modules", "callbacks": print}, "callbacks takes a list of functions"),
        ({"space": 5}, "a space's searched must be fields"),
    ],
)
def test_bad_input_is_an_error_and_leaves_nothing(
    tmp_path: Path, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        search(**arguments, profile="tiny", storage=tmp_path / "runs")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "runs").exists()


def test_a_profile_s_name_is_checked(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"profile must be one of .* \(did you mean tiny\?\)"):
        search("lora_modules", profile="tny", storage=tmp_path)


def test_numbers_of_numpy_are_numbers() -> None:
    fixed = {"lora_rank": np.int64(8), "learning_rate": np.float32(0.5)}
    assert spell_fixed(fixed) == ["lora_rank=8", "learning_rate=0.5"]
    assert spell_flags({"trials": np.int64(3), "rungs": np.array([1, 2])}).rungs_turns == (1, 2)


@pytest.mark.slow
@pytest.mark.usefixtures("local_ray")
def test_callbacks_hear_every_event_and_one_that_fails_ends_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    heard: list[Event] = []

    def fails(event: Event) -> None:
        raise KeyError("mine")

    result = search(
        "lora_modules",
        base_model="toy",
        profile="tiny",
        trials=2,
        storage=tmp_path,
        callbacks=[fails, heard.append],
    )
    assert len(heard) == result.records.n_events
    assert {"trial", "eval", "end", "note"} <= {event["event"] for event in heard}
    assert capsys.readouterr().err.count("callback fails failed: KeyError: 'mine'") == 1
    more = resume(result.name, storage=tmp_path, trials=3)
    assert len(more.records.proposed) == 3 and (result.folder / "sweep.yaml").is_file()
