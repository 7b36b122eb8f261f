"""Prints the last checkpoint of a sweep's best trial; with --seeds those of all its seeds."""

import sys

from analysis.records import find_sweep, read_sweep
from tune.export.choice import choose_seeds, choose_trials

*flags, name = sys.argv[1:]
records = read_sweep(find_sweep(name))
if flags:
    choices = choose_seeds(records, None)
else:
    choices = choose_trials(records, trial=None, metric="objective", top=1)
print(*(choice.checkpoint.resolve() for choice in choices), sep="\n")
