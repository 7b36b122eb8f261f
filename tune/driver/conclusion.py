"""How a sweep ends: its leaderboard, what to do next, and the command's exit code."""

import shlex
import sys

from trainable.command.parser import spell_command
from trainable.model.source import EMBEDDED
from tune.folder.disk import describe_usage
from tune.folder.resume_command import spell_resume
from tune.search.config import SweepConfig
from tune.search.search import Search
from tune.search.trials import ENDED

EXIT_FAILED = 1


def has_work(search: Search) -> bool:
    is_open = any(t.state not in ENDED for t in search.trials.values())
    is_to_come = len(search.proposed) < search.config.trials and not search.is_exhausted
    return is_open or is_to_come or bool(search.list_unconfirmed())


def conclude(search: Search) -> int:
    """Writes and prints the leaderboard; the command's exit code: 1 if every trial failed, or more
    than may."""
    from analysis.leaderboard import render, write_leaderboard

    folder = search.config.folder
    write_leaderboard(folder)
    search.recorder.publish_all()
    print(render(folder))
    print(f"the sweep is in {folder}: {describe_usage(folder)}")
    failed = [t for t in search.searched if t.state == "FAIL"]
    if failed and len(failed) == len(search.searched):
        print(f"all {len(failed)} trials failed; the first: {failed[0].reason}", file=sys.stderr)
        return EXIT_FAILED
    if search.closing is None or not has_work(search):
        print(suggest_next(search.config))
        return 0
    command = spell_resume(folder, search.config.objective)
    line = f"{search.closing.why}: go on with {command} {search.closing.remedy}".rstrip()
    print(line, file=sys.stderr if search.closing.code else sys.stdout)
    return search.closing.code


def suggest_next(config: SweepConfig) -> str:
    """What one does with a sweep that has ended."""
    name = shlex.quote(config.name if config.storage == "runs" else str(config.folder))
    whole = " --merged" if config.base.get("base_model") == EMBEDDED else ""
    return (
        f"its figures and dialogues as one page: {spell_command('analysis.report')} {name}\n"
        f"its best adapter for others: {spell_command('tune.export')} {name}{whole} --out FOLDER"
    )
