"""What a clone asks of an engine: a rank beyond its bank's, a start from another's adapter."""

from dataclasses import replace
from pathlib import Path

import pytest
from test_contract import assert_equal, open_pack, train, weights
from tiny_trials import make_config

from trainable.result import ValidationRequest
from trainable.storage.resize import copy_adapter


@pytest.mark.slow
def test_a_trial_of_a_higher_rank_joins_and_its_neighbours_go_on(
    bases: dict[str, Path], tmp_path: Path
) -> None:
    folder = bases["llama"]
    config = make_config(folder, seed=5, lora_dropout=0.3, batch_turns=12)
    alone = open_pack(folder, slots=1)
    alone.join("mine", config, None)
    train(alone, {"mine": 60})
    grown = open_pack(folder, slots=2)
    grown.join("mine", config, None)
    train(grown, {"mine": 24})
    large = make_config(folder, seed=6, lora_rank=24)
    grown.join("large", large, None)
    train(grown, {"mine": 60, "large": 60})
    assert grown.bank.layout.rank == 24
    assert_equal(
        weights(alone, "mine", tmp_path / "alone"), weights(grown, "mine", tmp_path / "g"), 1e-5
    )
    elsewhere = open_pack(folder, slots=1)
    elsewhere.join("large", large, None)
    train(elsewhere, {"large": 60})
    assert_equal(
        weights(elsewhere, "large", tmp_path / "e"), weights(grown, "large", tmp_path / "l"), 1e-5
    )


def test_a_warm_clone_begins_with_the_original_s_replies(
    bases: dict[str, Path], tmp_path: Path
) -> None:
    folder = bases["llama"]
    pack = open_pack(folder, slots=2)
    config = make_config(folder, seed=5, learning_rate=5e-3)
    pack.join("original", config, None)
    train(pack, {"original": 60})
    pack.copy_state("original").write(tmp_path / "checkpoint")
    clone = replace(config, lora_rank=24, alpha_over_rank=0.5)
    copy_adapter(tmp_path / "checkpoint", tmp_path / "copy", config, clone)
    pack.join("clone", replace(clone, adapter=str(tmp_path / "copy")), None)
    made = pack.generate([(slot, ValidationRequest(4)) for slot in pack.slots.values()])
    assert made["clone"][0] == made["original"][0]
    train(pack, {"clone": 24})
    assert pack.slots["clone"].turns_seen >= 24 and not pack.broken_slots()
