"""Runs the small sweeps that the notebooks read, and stores them: some minutes on two cores.

python tests/analysis/make_example.py [FOLDER]

Three real sweeps of tiny models on the embedded corpus, made in FOLDER (default: a new temporary
one; a sweep that is there is taken as it is): the default sweep; ways of decoding for its best
adapter; and base models of three sizes, two of them pretrained here. Of each, analysis/example
keeps the records, not the checkpoints.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from analysis.ranking import rank_trials
from analysis.records import read_sweep
from trainable.model import tiny

EXAMPLE = Path(__file__).parents[2] / "analysis" / "example"
WIDTHS = {"llama-0.2M": (64, 2), "llama-0.7M": (128, 2)}  # hidden size, layers
SIZES = """
from optuna.distributions import CategoricalDistribution, FloatDistribution
from search_spaces.space import Space

MODELS = ("llama-0.2M", "llama-0.7M", "tiny")  # folders beside this file, and the embedded one
SPACE = Space(
    name="model_size",
    question="How do the scores grow with the parameters of the base model, at equal training?",
    searched={
        "base_model": CategoricalDistribution(MODELS),
        "learning_rate": FloatDistribution(3e-3, 3e-2, log=True),
    },
    first=tuple({"base_model": name, "learning_rate": 1e-2} for name in MODELS),
)
"""


def run(*arguments: str) -> None:
    """A command of the package, from inside the folder: no path of this machine is recorded."""
    subprocess.run([sys.executable, "-m", *arguments], check=True)


def make_sweep() -> None:
    run("tune.run", "--space", "lora_modules", "--profile", "tiny", "--name", "sweep")


def make_decoding() -> None:
    entries = rank_trials(read_sweep(Path("runs/sweep")))
    best = next(e for e in entries if not e.trial.is_base)
    last = max(Path(f"runs/sweep/checkpoints/{best.trial.id}").iterdir(), key=lambda p: int(p.name))
    shutil.copytree(last, "adapter", dirs_exist_ok=True)
    flags = ["--profile", "tiny", "--name", "decoding", "--trials", "20"]
    run("tune.run", "--space", "decoding", *flags, "--set", "adapter=adapter")


def make_model_size() -> None:
    for name, (width, layers) in WIDTHS.items():
        if not Path(name).exists():
            tiny.SHAPE |= {"hidden_size": width, "num_hidden_layers": layers}
            tiny.SHAPE |= {"intermediate_size": 4 * width, "num_attention_heads": width // 32}
            tiny.SHAPE |= {"num_key_value_heads": width // 32}
            tiny.make(Path(name), tiny.STEPS, seed=0)
    Path("sizes.py").write_text(SIZES)
    flags = ["--profile", "tiny", "--name", "model_size", "--trials", "12"]
    run("tune.run", "--space", "sizes.py", *flags)


MAKERS = {"sweep": make_sweep, "decoding": make_decoding, "model_size": make_model_size}


def store(name: str) -> None:
    """The record, the counts of all trials, the replies of the best three and the untuned base."""
    source, folder = Path("runs") / name, EXAMPLE / name
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
    here = f"{Path.cwd()}/"
    header = json.loads((source / "sweep.json").read_text().replace(here, ""))
    (folder / "sweep.json").write_text(json.dumps(header, indent=1) + "\n")
    lines = (source / "evals.jsonl").read_text().replace(here, "").splitlines()
    events = [json.loads(line) for line in lines]
    for event in events:
        if "place" in event:
            event["place"]["node"] = "node"
    (folder / "evals.jsonl").write_text("".join(json.dumps(e) + "\n" for e in events))


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else tempfile.mkdtemp(prefix="example-"))
    folder.mkdir(exist_ok=True)
    os.environ["PYTHONPATH"] = str(EXAMPLE.parents[1])
    os.chdir(folder)
    for name, make in MAKERS.items():
        if not Path("runs", name).exists():
            make()
        store(name)


if __name__ == "__main__":
    main()
