"""python -m analysis.report NAME: a sweep's answer as one HTML page that needs no network."""

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from trainable.command.flags import add_names
from trainable.command.outcome import Outcome, carry_out, start_command
from trainable.command.parser import Parser
from trainable.system.whole import write_whole
from trainable.trial import ConfigError

FOLLOW_S = 30
OFFLINE = "HF_HUB_OFFLINE"


def write_report(folder: Path, output: Path | None = None, reload_s: int | None = None) -> Path:
    """Writes the page (by default report.html in the sweep's folder), whole, and returns where.
    With `reload_s` the page of a sweep that has not ended reloads itself that often. Raises
    ConfigError when the folder is no sweep's."""
    from analysis.compose import compose_page
    from analysis.records import read_sweep

    output = output or folder / "report.html"
    page = compose_page(read_sweep(folder), reload_s)
    try:
        write_whole(output, page.encode())
    except OSError as error:
        raise ConfigError(f"{output} cannot be written ({error}): give --output FILE") from error
    return output


def follow(folder: Path, output: Path | None) -> Path:
    """Writes the page again and again, until the sweep has ended or Ctrl-C."""
    from analysis.records import read_sweep

    output = write_report(folder, output, FOLLOW_S)
    print(f"{output} is written anew every {FOLLOW_S} s until the sweep ends (Ctrl-C)", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        while read_sweep(folder).is_running:
            time.sleep(FOLLOW_S)
            write_report(folder, output, FOLLOW_S)
    return write_report(folder, output)


def show(folders: Sequence[Path], flags: argparse.Namespace) -> Outcome:
    """Serves the pages until Ctrl-C. Raises ConfigError."""
    from analysis.serve import open_server

    if flags.output is not None:
        raise ConfigError("--serve writes no file: leave out --output")
    with open_server(folders, flags.port) as server:
        print(f"http://127.0.0.1:{server.server_port}/ (on this machine only; Ctrl-C ends it)")
        sys.stdout.flush()
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()
    return Outcome(facts={"output": None, "n_bytes": 0})


def main(arguments: Sequence[str] | None = None) -> int:
    with offline():
        return carry_out(build_parser(), write, arguments)


@contextlib.contextmanager
def offline() -> Iterator[None]:
    """A report shows a corpus that is here, and fetches none."""
    before = os.environ.get(OFFLINE)
    os.environ[OFFLINE] = "1"
    try:
        yield
    finally:
        os.environ.pop(OFFLINE)
        if before is not None:
            os.environ[OFFLINE] = before


def write(flags: argparse.Namespace) -> Outcome:
    from analysis.records import find_sweep

    started_s = time.monotonic()
    folders = [find_sweep(name, flags.storage) for name in flags.names]
    if flags.serve:
        return show(folders, flags)
    if len(folders) > 1:
        raise ConfigError("several sweeps side by side need --serve")
    make = follow if flags.follow else write_report
    output = make(folders[0], flags.output)
    n_bytes = output.stat().st_size
    print(f"{output} ({n_bytes / 1e6:.1f} MB, {time.monotonic() - started_s:.1f} s)")
    return Outcome(facts={"output": output, "n_bytes": n_bytes})


def build_parser() -> Parser:
    parser = Parser("analysis.report", __doc__)
    add_names(parser, help="the sweep's name, or its folder; several with --serve")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="write the page here (default: report.html in the sweep's folder)",
    )
    parser.add_argument(
        "--follow", action="store_true", help="keep the page current until the sweep has ended"
    )
    parser.add_argument(
        "--serve",
        action="store_true",
        help="serve the page to a browser, kept current, until Ctrl-C",
    )
    parser.add_argument(
        "--port", type=int, default=0, metavar="N", help="port of --serve; 0: a free one"
    )
    return parser


if __name__ == "__main__":
    start_command(main)
