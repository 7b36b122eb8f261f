"""The search from Python: what it gives is what it says."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from inline import make_config, open_search, run_inline

from qlora_search import ConfigError, Event, open_sweep, resume, search


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
    ],
)
def test_bad_input_is_an_error_and_leaves_nothing(
    tmp_path: Path, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        search(**arguments, profile="tiny", storage=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


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
