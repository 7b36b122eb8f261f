"""Put on PYTHONPATH, it reaches every process of a sweep: the toy writes down each stretch that it
begins to train, and what is made lasting takes its time, so that kills fall into writes. On a node
that was started with TOY_MISSING there is no toy."""

import json
import os
import time

from trainable.solo.toy import ToyFinetuner
from trainable.trial import Missing, TrialConfig

train_until, fsync = ToyFinetuner.train_until, os.fsync


def traced(self: ToyFinetuner, turns: int) -> None:
    name = sorted(self.config.to_dict().items())
    line = json.dumps([str(name), self.turns_seen, turns]) + "\n"
    trace = os.open(os.environ["TOY_TRACE"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(trace, line.encode())
    os.close(trace)
    train_until(self, turns)


def fail(self: ToyFinetuner, config: TrialConfig, *_: object, **__: object) -> None:
    raise Missing("this node has no toy")


def slow_fsync(file: int) -> None:
    time.sleep(0.02)
    fsync(file)


if "TOY_TRACE" in os.environ:
    ToyFinetuner.train_until, os.fsync = traced, slow_fsync
if "TOY_MISSING" in os.environ:
    ToyFinetuner.__init__ = fail
