"""What a worker's process sends of itself."""

import json

from test_training_curve import grow

from trainable.system.activity import forget, tell
from trainable.system.heartbeat import Heartbeat
from trainable.training_curve import TrainingCurve


def test_curves_are_sent_by_trial_and_only_those_that_have_grown() -> None:
    sent: list[dict[str, dict[str, list[int]]]] = []
    heartbeat = Heartbeat(
        lambda state: None, lambda content: sent.append(json.loads(content)), None
    )
    curves = {key: grow(TrainingCurve(), range(1, 4)) for key in ("0007.1", "0008.2")}
    for key, curve in curves.items():
        tell("training", 24, 80, key=key, curve=curve)
    heartbeat.send_grown()
    grow(curves["0008.2"], range(4, 6))
    heartbeat.send_grown()
    heartbeat.send_grown()
    for key in curves:
        forget(key)
    steps = [{trial: curve["steps"][-1] for trial, curve in content.items()} for content in sent]
    assert steps == [{"0007": 3, "0008": 3}, {"0008": 5}]
