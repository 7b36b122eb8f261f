"""Writes the sweeps that the notebooks read: python tests/analysis/make_example.py [NAME FOLDER]

Without arguments all are synthetic: the scores are drawn from formulas, the replies are the
embedded corpus's own with some exchanged, more of them where the score is lower. With arguments
the real sweep in FOLDER is stored as the example NAME, without its checkpoints and machine.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from synthetic import FIXED, Plan, write_sweep

from analysis.ranking import rank_trials
from analysis.records import read_sweep
from trainable.corpus.dialogue import Dialogue
from trainable.corpus.load import load_corpus

EXAMPLE = Path(__file__).parents[2] / "analysis" / "example"
N_DIALOGUES = 24
SIZES = {"pythia-70m": 70e6, "pythia-160m": 160e6, "pythia-410m": 410e6, "pythia-1b": 1e9}


def sample_decoding(rng: np.random.Generator) -> dict[str, Any]:
    decoding = str(rng.choice(["greedy", "sampling", "beam", "contrastive"]))
    params: dict[str, Any] = {"decoding": decoding}
    if decoding == "sampling":
        params["temperature"] = float(rng.uniform(0.3, 1.5))
    if decoding == "beam":
        params["num_beams"] = int(rng.integers(2, 9))
    if decoding == "contrastive":
        params |= {"penalty_alpha": float(rng.uniform(0, 0.9)), "top_k": int(rng.integers(2, 9))}
    return params


def measure_decoding(params: Mapping[str, Any], turns: int) -> float:
    heat = 0.25 * params.get("temperature", 0.0) + 0.3 * params.get("penalty_alpha", 0.0) ** 2
    return 0.7 + 0.03 * (params["decoding"] == "beam") - heat


def sample_size(rng: np.random.Generator) -> dict[str, Any]:
    model, rate = str(rng.choice(list(SIZES))), float(10 ** rng.uniform(-4, -2))
    return {"base_model": model, "learning_rate": rate}


def measure_size(params: Mapping[str, Any], turns: int) -> float:
    grown = 1 - np.exp(-turns / 2500)
    size = 0.2 * np.log10(SIZES[params["base_model"]] / 70e6)
    return float(0.1 + (0.5 + size - 0.1 * (np.log10(params["learning_rate"]) + 3) ** 2) * grown)


PLANS = {
    "sweep": Plan(name="synthetic: LoRA", question="Which LoRA modules, rank and learning rate?"),
    "decoding": Plan(
        name="synthetic: decoding",
        question="How should replies be decoded?",
        searched={
            "decoding": CategoricalDistribution(("greedy", "sampling", "beam", "contrastive")),
            "temperature": FloatDistribution(0.3, 1.5),
            "num_beams": IntDistribution(2, 8),
            "penalty_alpha": FloatDistribution(0.0, 0.9),
            "top_k": IntDistribution(2, 8),
        },
        fixed={"method": "none", "double_quantisation": True},
        rungs_turns=(0,),
        sample=sample_decoding,
        quality=measure_decoding,
    ),
    "model_size": Plan(
        name="synthetic: model size",
        question="How large must the model be?",
        searched={
            "base_model": CategoricalDistribution(tuple(SIZES)),
            "learning_rate": FloatDistribution(1e-4, 1e-2, log=True),
        },
        fixed={**FIXED, "lora_modules": "all-linear", "lora_rank": 8, "schedule": "constant"},
        sample=sample_size,
        quality=measure_size,
        total_params=lambda params: int(SIZES[params["base_model"]]),
    ),
}


def write_replies(folder: Path, dialogues: tuple[Dialogue, ...]) -> None:
    """Real dialogue names everywhere; replies for the best three trials and the untuned base."""
    records = read_sweep(folder)
    entries = rank_trials(records)
    shown = {e.trial.id: e for e in [*entries[:3], *(e for e in entries if e.trial.is_base)]}
    names = {f"syn{i:04d}": d.id for i, d in enumerate(dialogues)}
    pool = [t.delexicalised for d in dialogues for t in d.turns]
    for place in (folder / "trials").iterdir():
        stats = json.loads((place / "dialogues.json").read_text())
        renamed = {names.get(k, k): v for k, v in stats.items()}
        (place / "dialogues.json").write_text(json.dumps(renamed) + "\n")
        (place / "responses.json").unlink()
        if place.name in shown:
            share = 1 - shown[place.name].mean("success") / 100
            replies = exchange(dialogues, pool, share, seed=len(place.name))
            (place / "responses.json").write_text(json.dumps(replies, indent=0) + "\n")


def exchange(
    dialogues: tuple[Dialogue, ...], pool: list[str], share: float, *, seed: int
) -> dict[str, list[dict[str, str]]]:
    rng = np.random.default_rng(seed)
    return {
        d.id: [
            {"response": pool[rng.integers(len(pool))] if rng.random() < share else t.delexicalised}
            for t in d.turns
        ]
        for d in dialogues
    }


def make_synthetic() -> None:
    dialogues = load_corpus("cambridge").splits["validation"][:N_DIALOGUES]
    for name, plan in PLANS.items():
        folder = EXAMPLE / name
        shutil.rmtree(folder, ignore_errors=True)
        failing = (5,) if name == "sweep" else ()
        write_sweep(folder, trials=24, n_dialogues=N_DIALOGUES, failing=failing, plan=plan)
        write_replies(folder, dialogues)


def store_real(name: str, source: Path) -> None:
    """The record, the counts of all trials, the replies of the best three and the untuned base."""
    folder = EXAMPLE / name
    shutil.rmtree(folder, ignore_errors=True)
    entries = rank_trials(read_sweep(source))
    shown = {e.trial.id for e in entries if e.rank <= 3 or e.trial.is_base}
    for entry in entries:
        for trial in entry.trials:
            place = folder / "trials" / trial.id
            place.mkdir(parents=True)
            files = ["dialogues.json", *(["responses.json"] if trial.id in shown else [])]
            for file in files:
                content = json.loads((source / "trials" / trial.id / file).read_text())
                (place / file).write_text(json.dumps(content, indent=0) + "\n")
    header = json.loads((source / "sweep.json").read_text())
    header["config"]["storage"] = "runs"
    (folder / "sweep.json").write_text(json.dumps(header, indent=1) + "\n")
    events = [json.loads(line) for line in (source / "evals.jsonl").read_text().splitlines()]
    for event in events:
        if "place" in event:
            event["place"]["node"] = "node"
    (folder / "evals.jsonl").write_text("".join(json.dumps(e) + "\n" for e in events))


if __name__ == "__main__":
    if len(sys.argv) == 3:
        store_real(sys.argv[1], Path(sys.argv[2]))
    else:
        make_synthetic()
