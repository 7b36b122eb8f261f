"""The corpus with the training dialogues alone whose states people annotated, by its
provenance.json: python analysis/results/models/gold.py CORPUS OUT"""

import json
import shutil
import sys
from pathlib import Path

ANNOTATED = ("mwz21", "mwz22")  # the others' states are wholly or partly a model's


def main(corpus: Path, out: Path) -> None:
    whose = json.loads((corpus / "provenance.json").read_text())
    others = {name for name, told in whose.items() if told["states"] not in ANNOTATED}
    shutil.copytree(corpus, out)
    for path in (out / "train").glob("dialogues_*.json"):
        keep(path, [d for d in json.loads(path.read_text()) if d["dialogue_id"] not in others])
    acts = out / "dialog_acts.json"
    keep(acts, {name: a for name, a in json.loads(acts.read_text()).items() if name not in others})


def keep(path: Path, content: object) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
