"""evals.jsonl, line by line: each is an event, or is told by its number."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from trainable.trial import ConfigError

EVENTS = "evals.jsonl"
BOM = b"\xef\xbb\xbf"  # some editors put it in front
# What a terminal obeys rather than shows, escaped or not
COMMANDS = re.compile(rb"\\u00(?:[01][0-9a-fA-F]|7[fF]|[89][0-9a-fA-F])|\xc2[\x80-\x9f]|\x7f")
Numbered = tuple[int, Mapping[str, Any]]  # line, from 1; its event
OBJECT = msgspec.json.Decoder(dict[str, Any])


class Lines:
    """The events of a sweep's folder, read on from where they were read last. What cannot be read,
    or was there before, is a line in `warnings`."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / EVENTS
        self.warnings: list[str] = []
        self.n_lines, self.n_events = 0, 0
        self.offset = 0  # in bytes, of what is read
        self.first_of: dict[int, int] = {}  # a line's hash -> the number of the first like it

    def read_on(self, *, is_whole: bool = True) -> Iterator[Numbered]:
        """What has come since. `is_whole`: nobody is writing, so that what follows the last newline
        is a line, too."""
        if not self.path.exists():
            return
        content = self._read_bytes()
        self.offset += content.rfind(b"\n") + 1
        *lines, tail = clean(content).split(b"\n")
        for line in lines:
            if (found := self._take(line)) is not None:
                yield self.n_lines, found
        if is_whole and tail and (found := self._take(tail, is_last=True)) is not None:
            yield self.n_lines, found

    def _read_bytes(self) -> bytes:
        """What has come since. Raises ConfigError."""
        try:
            if not self.path.is_file():  # a pipe would be waited for
                raise ConfigError(f"{self.path} is not a file: put a copy of it there")
            with self.path.open("rb") as file:
                file.seek(self.offset)
                return file.read()
        except OSError as error:
            raise ConfigError(f"{self.path} cannot be read ({error.strerror})") from error

    def _take(self, line: bytes, *, is_last: bool = False) -> Mapping[str, Any] | None:
        self.n_lines += 1
        text = line.removeprefix(BOM).strip()
        if not text:
            return None
        first = self.first_of.setdefault(hash(text), self.n_lines)
        if first != self.n_lines:
            self.warnings.append(f"{name_line(self.n_lines)} repeats line {first}: left out")
            return None
        try:
            event = load(text)
        except ValueError:
            how = "was not written to its end" if is_last else "cannot be read"
            self.warnings.append(f"{name_line(self.n_lines)} {how}: left out")
            return None
        self.n_events += 1
        return event


def name_line(number: int) -> str:
    return f"line {number} of {EVENTS}"


def parse(text: bytes) -> dict[str, Any]:
    """The JSON object that the text spells, without what a terminal would obey. Raises
    ValueError."""
    return load(clean(text))


def load(text: bytes) -> dict[str, Any]:
    """Raises ValueError where the text is no JSON object; no number in it is infinite or none."""
    try:
        return OBJECT.decode(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def clean(text: bytes) -> bytes:
    """Without what a terminal would obey."""
    if b"\\u00" in text or b"\xc2" in text or b"\x7f" in text:  # else it has none
        return COMMANDS.sub(rb"\\ufffd", text)
    return text


def read_tail(content: bytes) -> bytes:
    """What follows the last newline of evals.jsonl: b"" as a rule, where a driver's writing was cut
    off a part of an event, or a whole one."""
    return content[content.rfind(b"\n") + 1 :]


def is_event(tail: bytes) -> bool:
    """Whether what follows the last newline is a whole event."""
    try:
        return bool(parse(tail.removeprefix(BOM)))
    except ValueError:
        return False


def is_torn(tail: bytes) -> bool:
    """Whether a writer of ours left it: the beginning of an event, or what a power cut leaves of
    one (zeros)."""
    text, start = tail.rstrip(b"\0"), b'{"event": "'
    return (text.startswith(start) or start.startswith(text)) and not re.search(rb"[\0-\x1f]", text)
