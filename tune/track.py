"""Sends an ended sweep to trackers: python -m tune.track NAME --report-to mlflow

`tune.run --report-to` does the same while a sweep runs. Each trial becomes a run with its config,
its training and scores over turns, and its state. What a tracker already has is not sent again.
"""

import argparse

from trainable.command.flags import add_name
from trainable.command.outcome import Outcome, make_main, start_command
from trainable.command.parser import Parser
from trainable.system.inside import check_links
from trainable.trial import ConfigError


def track(flags: argparse.Namespace) -> Outcome:
    from analysis.records import find_sweep, read_sweep
    from tune.folder.recorder import replay_events
    from tune.folder.report_to import Reporter
    from tune.folder.trackers import check_backends

    check_backends(flags.report_to)
    records = read_sweep(find_sweep(flags.name, flags.storage))
    check_links(records.folder)
    for name in flags.report_to:
        reporter = Reporter(name, records.folder.name, records.folder)
        for event in replay_events(records):
            reporter.on_event(event)
        if reporter.failure:
            raise ConfigError(reporter.failure)
        print(f"{name} has the {len(records.trials)} trials of {records.name}")
    return Outcome(facts={"trackers": flags.report_to, "trials": len(records.trials)})


def build_parser() -> Parser:
    from tune.folder.trackers import BACKENDS

    parser = Parser("tune.track", __doc__)
    add_name(parser)
    parser.add_argument(
        "--report-to",
        type=lambda text: text.split(","),
        metavar="A,B",
        required=True,
        help=f"the trackers: {', '.join(BACKENDS)}",
    )
    return parser


main = make_main(build_parser, track)

if __name__ == "__main__":
    start_command(main)
