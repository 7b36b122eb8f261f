"""A process that runs trials one after another keeps its engine."""

from pathlib import Path

import pytest
from tiny_trials import make_config

from trainable.engine.finetuner import SoloFinetuner
from trainable.result import ValidationRequest


@pytest.mark.slow
def test_an_engine_that_is_kept_gives_the_next_trial_what_a_new_one_would(
    bases: dict[str, Path],
) -> None:
    config = make_config(bases["llama"], seed=3, train_turns=16)
    first = SoloFinetuner(make_config(bases["llama"], lora_modules="qv"), "cpu", keeps=True)
    first.train_until(8)
    first.close()
    second, third = (SoloFinetuner(config, "cpu", keeps=True) for _ in range(2))
    assert second.own_engine is first.own_engine and third.own_engine is not first.own_engine
    for trial in (second, third):
        trial.train_until(16)
    one, other = (trial.evaluate(ValidationRequest(2)) for trial in (second, third))
    assert one.responses == other.responses and one.result.loss_nats == other.result.loss_nats
    second.close()
    third.own_engine.close()
    wider = SoloFinetuner(make_config(bases["llama"], lora_rank=8), "cpu")  # of another kind
    assert not second.own_engine._thread.is_alive()
    wider.close()
