"""A sweep's leaderboard and report as a dataset repository: the evidence beside the adapter."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from analysis.compose import compose_page
from analysis.leaderboard import render_markdown
from analysis.ranking import rank_trials
from analysis.records import SweepRecords
from analysis.rows import to_csv, to_parquet, to_row
from trainable.trial import ConfigError
from tune.export.metrics import describe_data
from tune.export.push import LEADERBOARD

ELSEWHERE = "(elsewhere)"


def write_dataset(records: SweepRecords, adapter: str | None, folder: Path) -> None:
    """Writes the files into the folder: a card with the leaderboard, the same as a table, and the
    report. `adapter`: the repository of the best one. Raises ConfigError where nothing is scored.
    """
    entries = rank_trials(records)
    if not entries:
        raise ConfigError(
            f"--dataset-repo needs a leaderboard, and no trial of {records.name} is scored yet"
        )
    private = list_private(records)
    rows = [{n: hide(v, private) for n, v in to_row(entry).items()} for entry in entries]
    (folder / "leaderboard.csv").write_bytes(to_csv(rows).encode())
    (folder / LEADERBOARD).write_bytes(to_parquet(rows))
    page = compose_page(records)
    board = render_markdown(records, entries)
    for name, text in (("report.html", page), ("README.md", spell_card(records, board, adapter))):
        (folder / name).write_text(hide(text, private), encoding="utf-8")


def spell_card(records: SweepRecords, board: str, adapter: str | None) -> str:
    from huggingface_hub import DatasetCardData

    data = describe_data(str(records.searched[0].config["corpus"]), None)
    told: dict[str, Any] = {
        "language": "en",
        "pretty_name": f"Leaderboard of the sweep {records.name}",
        "tags": ["task-oriented-dialogue", "qlora", "hyperparameter-search"],
        "configs": [{"config_name": "leaderboard", "data_files": LEADERBOARD}],
    }
    link = f" The best adapter: [{adapter}](https://huggingface.co/{adapter})." if adapter else ""
    about = (
        "The leaderboard, and the report (`report.html`: download it and open it, it needs no "
        f"network), of a hyperparameter search of QLoRA finetuning on {data.name} ({data.source})."
        f"{link}"
    )
    return f"---\n{DatasetCardData(**told).to_yaml()}\n---\n\n{about}\n\n{board}"


def list_private(records: SweepRecords) -> dict[str, str]:
    """What does not go out, the names of machines and folders, and what stands in its place."""
    nodes = {str(e.place.get("node") or "") for t in records.trials for e in t.evals}
    folders = {str(records.folder.absolute().parent), str(Path.home())}
    hidden = dict.fromkeys((nodes | folders) - {"", "/"}, ELSEWHERE)
    named = {str(t.config.get(n) or "") for t in records.trials for n in ("base_model", "corpus")}
    local = {name: Path(name).name for name in named if name[:1] in ("/", ".", "~")}
    return dict(sorted({**hidden, **local}.items(), key=lambda pair: -len(pair[0])))


def hide(value: Any, private: Mapping[str, str]) -> Any:
    """The text without those names; anything else as it is."""
    if isinstance(value, str):
        for name, instead in private.items():
            value = value.replace(name, instead)
    return value
