"""What another terminal or node asks of a running sweep: files in the sweep's folder, each written
whole, carried out by the driver within seconds and answered by a file beside it."""

import json
import os
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trainable.command.outcome import Outcome
from trainable.system.inside import stay_inside
from trainable.system.json_object import read_object
from trainable.system.whole import write_json
from trainable.trial import ConfigError
from tune.folder.lock import find_owner
from tune.folder.resume_command import spell_resume

FOLDER = "requests"
ANSWER = ".answer"
# verb -> what it says beside the trial
WORDS: Mapping[str, Mapping[str, type]] = {
    "stop": {"now": bool},
    "clone": {"set": dict, "warm": bool},
    "propose": {"set": dict, "why": str},
}
LOOK_S = 0.2
SAID_AFTER_S = 10.0
EXIT_REFUSED = 1
PATIENCE_S = 120.0  # a driver looks every second, but Ray or a model may hold it up


@dataclass(frozen=True, kw_only=True)
class Request:
    id: str
    verb: str  # stop | clone | propose; "": it cannot be read
    values: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Answer:
    done: bool
    text: str  # what became of it, in one line
    trial: str | None = None  # that was made


def send(folder: Path, verb: str, values: Mapping[str, Any]) -> Request:
    """Leaves the request where the driver, this one or the next, finds it."""
    request = Request(id=f"{time.time_ns()}-{os.getpid()}", verb=verb, values=values)
    stay_inside(folder, FOLDER).mkdir(exist_ok=True)
    write_json(_place(folder, request.id), {"verb": verb, "values": dict(values)})
    return request


def await_answer(folder: Path, request: Request, patience_s: float = PATIENCE_S) -> Answer:
    """What the driver made of it. Raises ConfigError, the request withdrawn, when the driver ends
    before it answers, or does not in time."""
    path, until_s = _place(folder, request.id + ANSWER), time.monotonic() + patience_s
    said_at_s = time.monotonic() + SAID_AFTER_S
    while not path.exists():
        if time.monotonic() > said_at_s:
            said_at_s = until_s
            text = (
                f"waiting for the driver of {folder.name} to answer, for {patience_s:g} s at most"
            )
            print(text, file=sys.stderr)
        owner = find_owner(folder)
        if (owner is None or time.monotonic() > until_s) and not path.exists():
            _place(folder, request.id).unlink(missing_ok=True)
            why = "ended" if owner is None else f"({owner}) has not answered for {patience_s:g} s"
            raise ConfigError(f"the driver of {folder.name} {why}: the request is withdrawn")
        time.sleep(LOOK_S)
    answer = Answer(**json.loads(path.read_text(encoding="utf-8")))
    path.unlink()
    return answer


def read_requests(folder: Path) -> list[Request]:
    """Those that wait, the oldest first. What asks for nothing that a command of ours asks has the
    verb ""."""
    found = []
    for path in sorted((folder / FOLDER).glob("[0-9]*.json")):
        if ANSWER in path.name:
            continue
        try:
            found.append(_read(path))
        except FileNotFoundError:
            continue  # withdrawn just now
        except (OSError, ValueError, KeyError, TypeError):
            found.append(Request(id=path.stem, verb="", values={}))
    return found


def _read(path: Path) -> Request:
    """Raises ValueError, KeyError or TypeError where a file is no request."""
    content = read_object(path)
    verb, values = content["verb"], content["values"]
    trial, needed = values["trial"], WORDS[verb]
    is_known = trial is None or isinstance(trial, str)
    if not is_known or any(not isinstance(values[name], kind) for name, kind in needed.items()):
        raise TypeError(path.name)
    return Request(id=path.stem, verb=verb, values=values)


def answer(folder: Path, request: Request, told: Answer) -> None:
    write_json(_place(folder, request.id + ANSWER), asdict(told))
    _place(folder, request.id).unlink(missing_ok=True)


def _place(folder: Path, name: str) -> Path:
    return folder / FOLDER / f"{name}.json"


def tell(answer: Answer) -> Outcome:
    """Says what the driver made of a request."""
    print(answer.text, file=sys.stdout if answer.done else sys.stderr)
    facts = asdict(answer)
    return Outcome(facts=facts, code=0 if answer.done else EXIT_REFUSED)


def tell_waiting(folder: Path, what: str) -> Outcome:
    """Says that a request waits for the next driver."""
    text = f"{folder.name} is not running: {what} is made by {spell_resume(folder)}"
    print(text)
    return Outcome(facts={"done": False, "text": text, "trial": None})
