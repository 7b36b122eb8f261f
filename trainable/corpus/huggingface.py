"""MultiWOZ 2.2 as the Hugging Face mirrors of `multi_woz_v22` hold it: Parquet, a row a dialogue.

Mirrors carry neither goals nor databases: those come from the dataset's own folder where they are
there (a local one), else from the official repository. Spans are those of
`dialogue_acts.span_info`, since the mirrors' `frames.slots` swap two offset fields.
"""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from trainable.corpus.acts import list_acts
from trainable.corpus.files import expect_fields, pair_turns
from trainable.corpus.multiwoz import Exchange, parse_requests, parse_state
from trainable.corpus.tables import list_structs
from trainable.system.hub import settle_network
from trainable.trial import ConfigError, Missing, Setting

# our split -> what mirrors call it
SPLITS = {"train": ("train",), "validation": ("validation", "dev"), "test": ("test",)}
# Where the hub keeps its Parquet conversion of a repository with a loading script
_CONVERTED = "refs/convert/parquet"
TABLES = (".parquet",)
ROWS = tuple(f"{kind}{packed}" for kind in (".jsonl", ".json", ".csv") for packed in ("", ".gz"))
_CONFIG = "v2.2"  # of several that a mirror may hold


def fetch_dataset(name: str) -> Path:
    """The local copy of a hub dataset's files, or of a part (OWNER/NAME/PART): Parquet, else JSON
    lines, JSON or CSV. Raises ConfigError."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RevisionNotFoundError,
    )

    settle_network()
    repo, part = "/".join(name.split("/")[:2]), "/".join(name.split("/")[2:])
    try:
        for revision, suffixes in ((None, TABLES), (_CONVERTED, TABLES), (None, ROWS)):
            with suppress(RevisionNotFoundError):  # not every dataset is converted
                patterns = [p for suffix in suffixes for p in (f"*{suffix}", f"**/*{suffix}")]
                folder = snapshot_download(
                    repo, repo_type="dataset", revision=revision, allow_patterns=patterns
                )
                place = Path(folder) / part
                if any(path.name.endswith(suffixes) for path in place.rglob("*")):
                    return place
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        first_line = str(error).strip().splitlines()[0]
        raise Missing(
            "corpus must be cambridge, multiwoz, a folder or a dataset id, and "
            f"{name!r} cannot be had: {first_line} (",
            *(Setting("corpus"), ")"),
        ) from error
    raise ConfigError(
        f"dataset {name} has no files of {', '.join((*TABLES, *ROWS))}: give a folder or a file"
    )


def find_tables(folder: Path) -> dict[str, list[Path]]:
    """The folder's Parquet files by our split's name; {} if there are none."""
    inner = folder / _CONFIG if (folder / _CONFIG).is_dir() else folder
    found = sorted(inner.rglob("*.parquet"))
    tables: dict[str, list[Path]] = {}
    for split, names in SPLITS.items():
        paths = [p for p in found if _names_split(p.relative_to(inner), names)]
        if paths:
            tables[split] = paths
    return tables


def _names_split(path: Path, names: tuple[str, ...]) -> bool:
    """`train/0000.parquet`, `data/train-00000-of-00001.parquet` or `train.parquet`."""
    return path.parent.name in names or path.stem.split("-")[0] in names


def read_dialogues(tables: Mapping[str, list[Path]]) -> dict[str, list[tuple[str, list[Exchange]]]]:
    """Dialogue ids with their exchanges, by split. Raises ConfigError where the layout differs."""
    for split in SPLITS:
        if split not in tables:
            raise ConfigError(f"the dataset has no Parquet file of split {split}: add it")
    import datasets
    from datasets.exceptions import DatasetsError
    from pyarrow import ArrowException

    dialogues = {}
    with TemporaryDirectory() as scratch, _quieten():  # what is parsed is kept elsewhere
        for split, paths in tables.items():
            with expect_fields(f"the dataset's split {split}"):
                try:
                    rows = datasets.load_dataset(
                        "parquet", data_files=[*map(str, paths)], split="train", cache_dir=scratch
                    )
                except (DatasetsError, ArrowException) as error:
                    raise ConfigError(
                        f"the Parquet files of split {split} cannot be read, first {paths[0]}: "
                        "fetch the dataset again"
                    ) from error
                dialogues[split] = [(row["dialogue_id"], [*_list_exchanges(row)]) for row in rows]
    return dialogues


@contextmanager
def _quieten() -> Iterator[None]:
    """`datasets` logs a page where one line says it, and draws bars into files."""
    from datasets.utils import logging

    before = logging.get_verbosity()
    logging.set_verbosity(logging.CRITICAL)
    if not sys.stderr.isatty():
        logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(before)


def _list_exchanges(row: Mapping[str, Any]) -> Iterator[Exchange]:
    """A service without a frame keeps its state: `v2.2_active_only` drops those not talked of."""
    frames: dict[str, Mapping[str, list[str]]] = {}
    for asked, answered in pair_turns(row["dialogue_id"], list_structs(row["turns"])):
        frames |= _read_frames(asked["frames"])
        yield Exchange(
            user=asked["utterance"],
            system=answered["utterance"],
            spans=_read_spans(answered["dialogue_acts"]),
            state=parse_state(frames.items()),
            requested=parse_requests(
                _read_requests(asked["frames"]), dict(_read_acts(asked["dialogue_acts"]))
            ),
            acts=list_acts(dict(_read_acts(answered["dialogue_acts"]))),
        )


def _read_frames(frames: Any) -> Iterator[tuple[str, Mapping[str, list[str]]]]:
    for frame in list_structs(frames):
        values = list_structs(frame["state"]["slots_values"])
        yield frame["service"], {v["slots_values_name"]: v["slots_values_list"] for v in values}


def _read_requests(frames: Any) -> Iterator[str]:
    for frame in list_structs(frames):
        yield from frame["state"].get("requested_slots") or ()


def _read_acts(acts: Mapping[str, Any]) -> Iterator[tuple[str, list[list[str]]]]:
    for act in list_structs(acts.get("dialog_act") or []):
        slots = list_structs(act["act_slots"])
        yield act["act_type"], [[slot["slot_name"], slot["slot_value"]] for slot in slots]


def _read_spans(acts: Mapping[str, Any]) -> list[list[Any]]:
    columns = ("act_type", "act_slot_name", "act_slot_value", "span_start", "span_end")
    return [[span[column] for column in columns] for span in list_structs(acts["span_info"])]
