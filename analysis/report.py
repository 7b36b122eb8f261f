"""python -m analysis.report NAME: a sweep's answer as one HTML page that needs no network."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from trainable.system.environment import speak_utf8
from trainable.system.whole import write_whole
from trainable.trial import ConfigError

FOLLOW_S = 30


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


def show(folders: Sequence[Path], flags: argparse.Namespace) -> int:
    """Serves the pages until Ctrl-C. Raises ConfigError."""
    from analysis.serve import open_server

    if flags.output is not None:
        raise ConfigError("--serve writes no file: leave out --output")
    with open_server(folders, flags.port) as server:
        print(f"http://127.0.0.1:{server.server_port}/ (on this machine only; Ctrl-C ends it)")
        sys.stdout.flush()
        with contextlib.suppress(KeyboardInterrupt):
            server.serve_forever()
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m analysis.report", description=__doc__, allow_abbrev=False
    )
    parser.add_argument(
        "names",
        metavar="NAME",
        nargs="+",
        help="a sweep's folder, or its name under runs/; several with --serve",
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="default: report.html there")
    parser.add_argument(
        "--follow", action="store_true", help="keep it current until the sweep has ended"
    )
    parser.add_argument(
        "--serve", action="store_true", help="show it in a browser, kept current, until Ctrl-C"
    )
    parser.add_argument(
        "--port", type=int, default=0, metavar="N", help="of --serve (default: a free one)"
    )
    flags = parser.parse_args(arguments)
    started_s = time.monotonic()
    try:
        from analysis.records import find_sweep

        folders = [find_sweep(name) for name in flags.names]
        if flags.serve:
            return show(folders, flags)
        if len(folders) > 1:
            raise ConfigError("several sweeps side by side need --serve")
        write = follow if flags.follow else write_report
        output = write(folders[0], flags.output)
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    size_mb = output.stat().st_size / 1e6
    print(f"{output} ({size_mb:.1f} MB, {time.monotonic() - started_s:.1f} s)")
    return 0


if __name__ == "__main__":
    speak_utf8()
    os.environ["HF_HUB_OFFLINE"] = "1"  # a report shows a corpus that is here, and fetches none
    sys.exit(main())
