"""One order of points for every command: README's case of seeds that ended at 103, 92 and 116."""

import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from synthetic import FIXED, write_header

from analysis.choice import choose_best, rank_points
from analysis.leaderboard import render
from analysis.ranking import rank_trials
from analysis.records import SweepRecords, read_sweep
from analysis.rows import to_cells
from trainable.result import EvalResult
from trainable.system.whole import write_json
from trainable.trial import TrialConfig
from tune.export.choice import is_exportable, pick_seed
from tune.status import View

END, RUNG = 8192, 2048


class Written:
    """A sweep's folder, event by event."""

    def __init__(self, folder: Path, **config: Any) -> None:
        self.folder, self.time_s, self.lines = folder, 0.0, []
        folder.mkdir()
        write_header(folder, trials=8)
        if config:
            header = json.loads((folder / "sweep.json").read_text())
            write_json(folder / "sweep.json", {**header, "config": {**header["config"], **config}})

    def add(self, event: dict[str, Any]) -> None:
        self.time_s += 1
        with (self.folder / "evals.jsonl").open("a") as file:
            file.write(json.dumps({**event, "time_s": self.time_s}) + "\n")

    def trial(
        self,
        number: int,
        rate: float,
        seed: int,
        scores: Sequence[tuple[int, float | None]],
        state: str | None = "COMPLETE",
        origin: dict[str, Any] | None = None,
    ) -> None:
        trial, params = f"{number:04d}", {"learning_rate": rate}
        values = {**FIXED, "learning_rate": rate, "lora_rank": 8, "lora_modules": "ffn"}
        config = TrialConfig(**values, schedule="constant", seed=seed).to_dict()
        event = {"event": "trial", "trial": trial, "number": number, "params": params}
        self.add({**event, "config": config, **({"origin": origin} if origin else {})})
        for turns, combined in scores:
            self.add({"event": "eval", "trial": trial, **asdict(make_result(turns, combined))})
        if state is not None:
            self.add({"event": "end", "trial": trial, "state": state, "reason": None})

    def read(self) -> SweepRecords:
        return read_sweep(self.folder)


def make_result(turns: int, combined: float | None, nats: float | None = None) -> EvalResult:
    rates = dict.fromkeys(("bleu", "inform", "success"), None if combined is None else 50.0)
    return EvalResult(
        turns_seen=turns,
        steps=turns // 16,
        loss_nats=1.2,
        **rates,
        combined=combined,
        richness={},
        n_dialogues=40,
        n_turns=200,
        split="validation",
        states="gold",
        intervals={},
        nats_per_word=nats if combined is not None or nats else 1.5,
    )


def confirm(trial: str, seed: int) -> dict[str, Any]:
    own = {"trial": trial, "set": {"seed": seed}, "warm": False, "in_study": False}
    return {"kind": "confirm", **own}


def list_winners(folder: Path) -> set[str]:
    """Who leads in the leaderboard, in the live table and status, and for an export."""
    records = read_sweep(folder)
    view = View(folder)
    view.look()
    best = view.progress.best
    assert best is not None
    point = next(p for p in rank_points(records) if any(map(is_exportable, p.trials)))
    shown = Console(width=200, record=True, file=io.StringIO())
    shown.print(view.render())
    assert f"trial {best.trial.id}" in shown.export_text()
    first = next(e for e in rank_trials(records) if not e.trial.is_base)
    return {first.trial.id, best.trial.id, pick_seed(point, "combined").id}


@pytest.mark.parametrize("stopped", [(), (1,), (0, 1)])
def test_a_point_whose_seeds_ended_at_103_92_and_116_leads_one_of_84(
    tmp_path: Path, stopped: tuple[int, ...]
) -> None:
    """Also where old versions stopped some of its seeds alone, at an earlier rung."""
    sweep = Written(tmp_path / "seeds")
    sweep.trial(0, 1e-3, 0, [(END, 84.0)])
    for place, score in enumerate((103.0, 92.0, 116.0)):
        is_stopped = place in stopped
        turns, state = (RUNG, "PRUNED") if is_stopped else (END, "COMPLETE")
        sweep.trial(1 + place, 1e-2, place, [(turns, score)], state)
    records = sweep.read()
    best = choose_best(records)
    assert best is not None and best.milestone_turns == END
    assert best.value == pytest.approx((103 + 92 + 116) / 3)
    assert [t.id for t in best.trials] == ["0001", "0002", "0003"]
    assert list_winners(sweep.folder) == {"0003"}
    lines = render(records).splitlines()
    assert next(line for line in lines if line.startswith("1 ")).split()[1:3] == ["0003", "x3"]


def test_losing_its_bad_seeds_helps_no_point(tmp_path: Path) -> None:
    sweep = Written(tmp_path / "luck")
    sweep.trial(0, 1e-3, 0, [(END, 84.0)])
    sweep.trial(1, 1e-2, 0, [(RUNG, 40.0)], "PRUNED")
    sweep.trial(2, 1e-2, 1, [(END, 90.0)])
    assert list_winners(sweep.folder) == {"0000"}


def test_fresh_seeds_decide_once_all_of_them_have_ended(tmp_path: Path) -> None:
    sweep = Written(tmp_path / "confirmed")
    sweep.trial(0, 1e-3, 0, [(END, 95.0)])
    sweep.trial(1, 1e-2, 0, [(END, 99.0)])
    sweep.trial(2, 3e-2, 0, [(END, 94.0)])
    sweep.trial(3, 1e-3, 1, [(END, 93.0)], origin=confirm("0000", 1))
    sweep.trial(4, 1e-2, 1, [], state=None, origin=confirm("0001", 1))
    assert list_winners(sweep.folder) == {"0001"}
    sweep.add({"event": "eval", "trial": "0004", **asdict(make_result(END, 80.0))})
    sweep.add({"event": "end", "trial": "0004", "state": "COMPLETE", "reason": None})
    ranked = rank_points(sweep.read())
    assert [(p.trial.id, p.is_confirmed, p.value) for p in ranked] == [
        ("0003", True, 93.0),
        ("0004", True, 80.0),
        ("0002", False, 94.0),
    ]
    assert [e.combined for e in ranked[0].searched] == [95.0]
    assert list_winners(sweep.folder) == {"0003"}


def test_without_replies_a_point_has_a_loss_and_no_score(tmp_path: Path) -> None:
    sweep = Written(tmp_path / "losses")
    for number, nats in enumerate((1.4, 1.2, 1.3)):
        sweep.trial(number, 10.0 ** -(number + 1), 0, [], state=None)
        result = asdict(make_result(RUNG, None, nats))
        sweep.add({"event": "eval", "trial": f"{number:04d}", **result})
    records = sweep.read()
    assert [p.trial.id for p in rank_points(records)] == ["0001", "0002", "0000"]
    assert not records.warnings and not records.scored
    entry = rank_trials(records)[0]
    assert entry.value is None and entry.behind_first is None
    cells = to_cells(entry)
    assert (cells["Combined"], cells["Bleu"], cells["to first"]) == ("", "", "")
    shown = render(records)
    assert "1.200" in shown and "None" not in shown
