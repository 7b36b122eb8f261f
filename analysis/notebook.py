"""python -m analysis.notebook NAME: the notebooks that come with the package, to read that sweep
and to start others."""

import argparse
import json
from pathlib import Path

from trainable.command.flags import add_name
from trainable.command.outcome import Outcome, make_main, start_command
from trainable.command.parser import Parser
from trainable.system.whole import write_whole
from trainable.trial import ConfigError

NOTEBOOKS = Path(__file__).with_name("notebooks")
FIRST = "sweep.ipynb"  # the one that reads a sweep
NAME_CELL = 'NAME = "example/sweep"'


def build_parser() -> Parser:
    parser = Parser("analysis.notebook", __doc__)
    add_name(parser, help="the sweep they are to read, or its folder")
    parser.add_argument("--out", type=Path, default=Path(), metavar="FOLDER", help="copy them here")
    return parser


def copy(flags: argparse.Namespace) -> Outcome:
    """Raises ConfigError on an unknown sweep, or where a notebook is there already."""
    from analysis.records import find_sweep

    folder = find_sweep(flags.name, flags.storage)
    sources = sorted(NOTEBOOKS.glob("*.ipynb"))
    taken = [source.name for source in sources if (flags.out / source.name).exists()]
    if taken:
        raise ConfigError(
            f"{flags.out / taken[0]} is there already: move it, or give another --out FOLDER"
        )
    for source in sources:
        text = name_sweep(source.read_text(encoding="utf-8"), folder.absolute())
        try:
            flags.out.mkdir(parents=True, exist_ok=True)
            write_whole(flags.out / source.name, text.encode())
        except OSError as error:
            raise ConfigError(f"--out must be a folder that can be written: {error}") from error
    print(f"jupyter lab {flags.out / FIRST}")
    return Outcome(facts={"notebooks": [flags.out / source.name for source in sources]})


def name_sweep(text: str, folder: Path) -> str:
    """The notebook with that sweep in its NAME cell, without the outputs of another."""
    notebook = json.loads(text)
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None
            source = "".join(cell["source"])
            cell["source"] = source.replace(NAME_CELL, f"NAME = {json.dumps(str(folder))}")
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


main = make_main(build_parser, copy)

if __name__ == "__main__":
    start_command(main)
