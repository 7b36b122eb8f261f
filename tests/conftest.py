"""What several folders' tests share: their order, one Ray, a small corpus, real MultiWOZ."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock

from trainable.corpus.corpus import RECENT, Corpus
from trainable.corpus.load import load_corpus
from trainable.system.cache import find_cache_folder
from trainable.system.hub import settle_network

SHARED = Path(__file__).parents[2] / "shared"
ORDINARY = {signal.SIGINT: signal.default_int_handler, signal.SIGHUP: signal.SIG_DFL}


def pytest_configure() -> None:
    """Signals are as in a terminal, for the drivers that tests start too: whoever runs the tests in
    the background may have had some ignored."""
    for number, handler in ORDINARY.items():
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, handler)
    # Ray's commands look for "the" cluster in this folder: a process of tests has its own
    os.environ["RAY_TMPDIR"] = tempfile.mkdtemp(prefix="ray-", dir="/tmp")


def pytest_unconfigure() -> None:
    shutil.rmtree(os.environ.pop("RAY_TMPDIR"), ignore_errors=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Nightly tests run where -m names them. Files with many slow tests come first, so that no
    process is left alone with a long one at the end."""
    if "nightly" not in config.option.markexpr:
        nightly = [item for item in items if item.get_closest_marker("nightly")]
        config.hook.pytest_deselected(items=nightly)
        items[:] = [item for item in items if item not in nightly]
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])


@pytest.fixture(autouse=True)
def network_unsettled() -> Iterator[None]:
    """No test inherits another's hub that did not answer."""
    yield
    constants = sys.modules.get("huggingface_hub.constants")
    if settle_network.cache_info().currsize and constants:
        settle_network.cache_clear()
        constants.HF_HUB_OFFLINE = False  # type: ignore[attr-defined]


@pytest.fixture(scope="session")
def local_ray() -> Iterator[None]:
    """One small Ray for all tests of a process, as quiet as a sweep's own: sweeps take it."""
    from tune.workers.connect import SETTINGS

    os.environ.update(SETTINGS)
    import ray

    with FileLock(Path(tempfile.gettempdir()) / "tests-start-ray.lock"):  # ports are looked for
        ray.init(
            "local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR"
        )
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def shared_folder() -> Path:
    if not (SHARED / "multiwoz-2.2.tar.xz").is_file():
        pytest.skip("../shared with real MultiWOZ data is not there")
    return SHARED


@pytest.fixture(scope="session")
def multiwoz_folder(shared_folder: Path) -> Path:
    """Real MultiWOZ in its published layout, unpacked once into the cache folder."""
    archive = shared_folder / "multiwoz-2.2.tar.xz"
    folder = find_cache_folder() / f"tests-multiwoz-{archive.stat().st_size}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if not folder.is_dir():
            beside = folder.with_suffix(".part")
            with tarfile.open(archive) as tar:
                tar.extractall(beside, filter="data")
            beside.rename(folder)
    return folder / "multiwoz"


@pytest.fixture(scope="session")
def multiwoz(multiwoz_folder: Path) -> Corpus:
    return load_corpus(str(multiwoz_folder))


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder for one test."""
    monkeypatch.setenv("QLORA_SEARCH_CACHE", str(tmp_path / "cache"))
    RECENT.clear()
    return tmp_path / "cache"


def turn(number: int, text: str, state: dict[str, list[str]] | None = None) -> dict[str, Any]:
    frames = []
    if number % 2 == 0:
        services = sorted({name.split("-")[0] for name in state or {}})
        frames = [
            {
                "service": service,
                "state": {
                    "active_intent": "NONE",
                    "requested_slots": [],
                    "slot_values": {
                        n: v for n, v in (state or {}).items() if n.startswith(service)
                    },
                },
            }
            for service in services
        ]
    return {
        "turn_id": str(number),
        "speaker": ("USER", "SYSTEM")[number % 2],
        "utterance": text,
        "frames": frames,
    }


ASKED = {"restaurant-food": ["italian"], "restaurant-area": ["dontcare"]}
DIALOGUES = {
    "train": ["SNG01.json", "SNG02.json"],
    "dev": ["SNG03.json"],
    "test": ["SNG04.json", "PMUL05.json"],
}
TABLES: dict[str, list[dict[str, Any]]] = {
    "restaurant": [
        {"id": "1", "name": "da nino", "food": "italian", "area": "north", "signature": "x"},
        {"id": "2", "name": "curry garden", "food": "indian", "area": "north"},
        {"id": "3", "name": "pane e vino", "food": "italian", "area": "?"},
    ],
    "hotel": [{"id": "0", "name": "the lodge", "area": "east", "price": {"single": "50"}}],
    "attraction": [{"id": "9", "name": "old museum", "area": "west", "entrance fee": "?"}],
    "train": [{"trainID": "TR1", "arriveBy": "09:30", "leaveAt": "09:00", "day": "monday"}],
}
GOAL = {"restaurant": {"informable": {"food": "italian"}, "requestable": ["PHONE", "REFERENCE"]}}


def dump(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


@pytest.fixture
def small_folder(tmp_path: Path) -> Path:
    """Five dialogues of two exchanges in MultiWOZ 2.2's layout."""
    folder = tmp_path / "small"
    for split, names in DIALOGUES.items():
        dialogues = [
            {
                "dialogue_id": name,
                "services": ["restaurant"],
                "turns": [
                    turn(0, "I want italian food, anywhere.", ASKED),
                    turn(1, "How about Da Nino? Call 01223 1."),
                    turn(2, "Book it.", {**ASKED, "restaurant-bookpeople": ["2"]}),
                    turn(3, "Done, it is ABC123."),
                ],
            }
            for name in names
        ]
        dump(folder / split / "dialogues_001.json", dialogues)
    acts = {
        "1": {
            "dialog_act": {
                "Restaurant-Inform": [["Phone", "01223 1"], ["Name", "Da Nino"], ["Post", "?"]],
                "Booking-Request": [["Time", "?"]],
                "general-reqmore": [["none", "none"]],
            },
            "span_info": [
                ["Restaurant-Inform", "phone", "01223 1", 24, 31],
                ["Restaurant-Inform", "name", "Da Nino", 10, 17],
            ],
        },
        "3": {"dialog_act": {}, "span_info": [["Booking-Book", "ref", "ABC123", 12, 18]]},
    }
    names = [name for names in DIALOGUES.values() for name in names]
    dump(folder / "dialog_acts.json", {name: {"0": {}, "2": {}, **acts} for name in names})
    ids = [name.split(".")[0].lower() for name in names]
    dump(folder / "goals.json", dict.fromkeys(ids, GOAL))
    dump(folder / "booked_domains.json", {name: [[], ["restaurant"]] for name in ids})
    for domain, rows in TABLES.items():
        dump(folder / "db" / f"{domain}_db.json", rows)
    return folder
