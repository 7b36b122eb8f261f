"""The lab's row of speeds, and what fits."""

import json
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from trainable.engine import throughput as measure
from trainable.engine.pack import Pack
from tune.bench import cards, packing, paired
from tune.bench import command as bench
from tune.plan.single import spell_trial

TINY = ["--profile", "tiny", "--device", "cpu"]


@pytest.mark.slow
def test_the_row_has_the_lab_s_columns(capsys: pytest.CaptureFixture) -> None:
    assert bench.main([*TINY, "--seconds", "0.1", "--dialogues", "1", "--pack", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("| GPU model | CUDA | train [it/s] | infer [it/s] |")
    cells = [cell.strip() for cell in lines[2].strip("|").split("|")]
    assert cells[0] == "cpu" and float(cells[2]) > 0 and float(cells[3]) > 0
    assert "torch " + torch.__version__.partition("+")[0] in lines[-1]


@pytest.mark.slow
def test_the_largest_batch_survives_running_out_of_memory(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    tried = []

    def decode(pack: Any, windows: list[Any], config: Any) -> None:
        tried.append(len(windows))
        if len(windows) > 37:
            raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(measure, "decode_at_once", decode)
    assert bench.main([*TINY, "--largest-batch", "--limit", "1000"]) == 0
    assert "replies at once: 37" in capsys.readouterr().out
    assert len(tried) < 15


@pytest.mark.slow
def test_the_longest_reply_is_forced_and_fits_the_window(capsys: pytest.CaptureFixture) -> None:
    assert bench.main([*TINY, "--longest-reply", "--prompt-tokens", "1015"]) == 0
    captured = capsys.readouterr()
    assert "tokens of the longest reply: 9" in captured.out and "--limit" in captured.err
    assert bench.main([*TINY, "--longest-reply", "--prompt-tokens", "1024"]) == 2
    assert "leaves none" in capsys.readouterr().err


@pytest.mark.slow
def test_models_that_do_not_fit_are_named_with_their_reason(
    capsys: pytest.CaptureFixture,
) -> None:
    assert bench.main([*TINY, "--largest-model", "tiny,/no/such/model"]) == 0
    text = capsys.readouterr().out
    assert "| tiny | yes |" in text and "| /no/such/model | no: error: " in text
    assert "the largest that fits: tiny" in text


def test_json_is_one_object(capsys: pytest.CaptureFixture) -> None:
    quick = ["--seconds", "0.1", "--dialogues", "1", "--set", "method=none", "--json"]
    assert bench.main([*TINY, *quick]) == 0
    row = json.loads(capsys.readouterr().out)
    assert row["train [it/s]"] is None and row["infer [it/s]"] > 0


def test_bad_input_is_one_line(capsys: pytest.CaptureFixture) -> None:
    assert bench.main([*TINY, "--pack", "0"]) == 2
    assert "must be above 0" in capsys.readouterr().err


@pytest.mark.slow
def test_packing_tells_its_rows_as_json(capsys: pytest.CaptureFixture) -> None:
    quick = ["--shape", "toy", "--work", "1x32", "--slots", "1", "--budget-s", "0.01"]
    assert packing.main([*quick, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told.pop("command") == "bench.packing" and told.pop("format") == 1
    assert set(told) == {"rows"} and all(row["tokens_per_s"] > 0 for row in told["rows"])
    ways = ["solo peft", "solo peft, 16 bits", "dequantized"]
    assert [row["how"] for row in told["rows"]] == ways


@pytest.mark.slow
def test_a_changed_trial_is_compared_with_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """What changes nothing leaves it as it is; what learns nothing does not."""
    quick = ["--trials", "2", "--slots", "1", "--turns", "96", "--loss-dialogues", "2"]
    quick += ["--reply-dialogues", "1", "--set", "max_new_tokens=4", "--out", str(tmp_path / "x")]
    assert paired.main([*TINY, *quick, "--change", "learning_rate=1e-7", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["trial"] for row in rows] == ["0", "1"] * 2
    assert all(abs(row["apart_nats"]) < 1e-4 and row["equal_replies"] == 1 for row in rows[:2])
    assert all(row["apart_nats"] > 0.01 for row in rows[2:])


@pytest.mark.parametrize(
    "name", ["exactness", "overhead", "packing", "paired", "remedies", "same_trial"]
)
def test_every_benchmark_tells_a_wrong_flag_in_one_line(
    name: str, capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(SystemExit) as ended:
        import_module(f"tune.bench.{name}").main(["--jsn"])
    error = capsys.readouterr().err
    assert ended.value.code == 2 and error.count("\n") == 1 and "did you mean --json?" in error


@pytest.mark.slow
def test_what_fits_a_card_is_found_by_doing_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """On a stand-in for a GPU whose passes do not fit the smallest card; the table says which."""
    limits: list[float] = []
    monkeypatch.setattr(cards, "KNOWN", ("toy",))
    monkeypatch.setattr(cards, "limit_memory", lambda device, gib: limits.append(gib))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (0, 41 * 2**30))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a stand-in")
    run = Pack.train_pass

    def train_pass(pack: Pack, slots: Any) -> None:
        if limits[-1] < 20 and len(pack.slots) > 1:
            raise torch.OutOfMemoryError("no room")
        run(pack, slots)

    monkeypatch.setattr(Pack, "train_pass", train_pass)
    device = SimpleNamespace(type="cuda")
    build = cards.build_model
    monkeypatch.setattr(cards, "build_model", lambda s, d, c: build(s, torch.device("cpu"), c))
    changes = {"max_length_tokens": 64, "max_new_tokens": 2, "lora_rank": 2}
    config = replace(spell_trial("tiny", []), **changes)
    found = cards.measure_cards(config, device)  # type: ignore[arg-type]
    assert [list(row.values()) for row in found["cards"]] == [
        [16, "toy", None, "toy"],
        [24, "toy", "toy", "toy"],
        [40, "toy", "toy", "toy"],
    ]
    assert "| 16 | toy | none | toy |" in bench.render(found)
    assert bench.main(["--largest-model", "--device", "cpu"]) == 2
    assert "there is none" in capsys.readouterr().err


def test_passes_that_are_recorded_are_counted_apart() -> None:
    behind = [(0.0, 0, 0), (3.0, 100, 1), (3.5, 200, 1), (4.5, 400, 1), (9.5, 500, 2)]
    marks = [
        measure.Mark(at=at, steps=n, tokens=t, readied=r) for n, (at, t, r) in enumerate(behind)
    ]
    speed = measure.sum_up(marks, 1.0)
    assert (speed.seconds, speed.steps, speed.tokens, speed.tokens_per_s) == (1.5, 2, 300, 200.0)
    assert speed.readied == measure.Readied(passes=2, seconds=8.0, tokens=200)
    assert speed.tokens_per_s_in_all == pytest.approx(500 / 9.5)
    all_recorded = measure.sum_up(marks[:2], 1.0)
    assert all_recorded.tokens == 100 and all_recorded.readied.passes == 0
