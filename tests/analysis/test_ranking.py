"""Who is better than whom, at equal training and within the noise."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from synthetic import draw_counts, write_header, write_sweep

from analysis.noise import DialogueCounts, draw_values, score_combined
from analysis.ranking import rank_trials
from analysis.records import read_sweep


def make_counts(good: float, *, seed: int, n: int = 200) -> DialogueCounts:
    counts = draw_counts(np.random.default_rng(seed), n, good)
    return DialogueCounts(turns_seen=1, ids=tuple(map(str, range(n))), counts=counts)


def test_combined_weighs_inform_and_success_alike() -> None:
    perfect = [9.0, 8, 7, 6, 9, 8, 7, 6, 9, 9]
    for inform, success, combined in ((3, 0, 137.5), (3, 2, 162.5), (4, 4, 200)):
        sums = np.array([[inform, success, *perfect]], dtype=float)
        assert score_combined(4, sums) == pytest.approx([combined])


def test_draws_centre_on_the_score_itself() -> None:
    one = make_counts(0.6, seed=1)
    point = score_combined(200, one.counts.sum(axis=0)[None])[0]
    assert draw_values(one).mean() == pytest.approx(point, abs=0.5)


def test_the_paired_interval_covers_the_true_difference_at_its_rate() -> None:
    """Two systems that differ by nothing are told apart about one time in twenty."""
    rng = np.random.default_rng(0)
    told_apart = 0
    for _ in range(200):
        one, other = (
            DialogueCounts(turns_seen=1, ids=(), counts=draw_counts(rng, 100, 0.5)) for _ in "ab"
        )
        ids = tuple(map(str, range(100)))
        one, other = (DialogueCounts(turns_seen=1, ids=ids, counts=c.counts) for c in (one, other))
        low, high = np.percentile(draw_values(one) - draw_values(other), (2.5, 97.5))
        told_apart += not low <= 0 <= high
    assert 2 <= told_apart <= 24


def test_pairing_narrows_what_shared_dialogues_decide() -> None:
    one = make_counts(0.5, seed=1)
    better = one.counts.copy()
    better[:4, :2] = 1.0
    other = DialogueCounts(turns_seen=1, ids=one.ids, counts=better)
    paired = draw_values(other) - draw_values(one)
    assert paired.std() < 0.5 * draw_values(one).std()


def write_trials(folder: Path, trials: list[dict[str, Any]]) -> Path:
    """A sweep with the given trials: id, rank, seed, state and scores by turns."""
    folder.mkdir(exist_ok=True)
    write_header(folder, trials=len(trials), config={"rungs_turns": [100, 300], "trials": 0})
    events = []
    for number, t in enumerate(trials):
        config = {"method": "lora", "lora_rank": t["rank"], "seed": t["seed"], "train_turns": 900}
        params = {"lora_rank": t["rank"], "seed": t["seed"]}
        name = {"trial": t["id"]}
        events.append({"event": "trial", **name, "number": number, "params": params})
        events[-1]["config"] = config
        for turns, combined in t["scores"].items():
            metrics = {"bleu": 1.0, "inform": 2.0, "success": 3.0, "combined": combined}
            rest = {"steps": 1, "loss_nats": None, "richness": {}, "intervals": {}}
            where = {"n_dialogues": 9, "n_turns": 9, "split": "validation", "states": "gold"}
            events.append({"event": "eval", **name, "turns_seen": turns})
            events[-1] |= {**metrics, **rest, **where}
        events.append({"event": "end", **name, "state": t["state"], "reason": None})
    (folder / "evals.jsonl").write_text("".join(json.dumps(e) + "\n" for e in events))
    return folder


def test_a_lucky_early_score_does_not_outrank_who_trained_on(tmp_path: Path) -> None:
    long = {"id": "0001", "rank": 8, "seed": 0, "state": "COMPLETE", "scores": {100: 40, 903: 60}}
    short = {"id": "0000", "rank": 4, "seed": 0, "state": "PRUNED", "scores": {104: 90}}
    first, second = rank_trials(read_sweep(write_trials(tmp_path, [short, long])))
    assert (first.trial.id, first.milestone_turns) == ("0001", 900)
    assert (second.trial.id, second.milestone_turns, second.behind_first) == ("0000", 100, 50)
    assert second.is_behind is None


def test_seeds_are_averaged_each_as_far_as_it_went(tmp_path: Path) -> None:
    seeds = [
        {"id": "0000", "rank": 8, "seed": 0, "state": "COMPLETE", "scores": {100: 10, 300: 30}},
        {"id": "0001", "rank": 8, "seed": 1, "state": "PRUNED", "scores": {100: 20}},
        {"id": "0002", "rank": 4, "seed": 0, "state": "COMPLETE", "scores": {100: 12, 300: 26}},
    ]
    first, second = rank_trials(read_sweep(write_trials(tmp_path, seeds)))
    assert (first.trial.id, first.mean("combined")) == ("0002", 26)
    assert (len(second.trials), second.milestone_turns, second.mean("combined")) == (2, 300, 25)
    assert second.behind_first == pytest.approx(-1)
    assert second.state == "mixed"


def test_the_base_is_compared_with_the_best_as_it_ended(tmp_path: Path) -> None:
    entries = rank_trials(read_sweep(write_sweep(tmp_path / "s", trials=10)))
    base = next(e for e in entries if e.trial.is_base)
    assert base is entries[-1]
    assert base.behind_first == pytest.approx(base.mean("combined") - entries[0].mean("combined"))
    assert base.behind_interval is None  # of one seed nothing is known of the seeds' part
