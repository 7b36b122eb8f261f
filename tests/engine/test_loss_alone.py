"""An evaluation without replies: the loss on all validation dialogues, in nats a word."""

from typing import Any

import numpy as np
import pytest
import torch
from tiny_trials import make_config, make_spec
from torch.nn import functional as F

from trainable.engine.engine import Engine
from trainable.engine.pack import Pack
from trainable.model.base import load_base
from trainable.model.source import EMBEDDED_FOLDER
from trainable.result import ValidationRequest
from trainable.solo.choose import open_finetuner
from trainable.trial import TrialConfig


def expect_losses(pack: Pack, key: str, n_dialogues: int) -> tuple[float, float]:
    """Nats a word and nats a placeholder by the untouched model, reply by reply."""
    task: Any = pack.slots[key].task
    model = load_base(make_spec(EMBEDDED_FOLDER)).model
    nats, inside, words, placeholders = 0.0, 0.0, 0, 0
    for window in task.encode_whole(task.dialogues("validation", n_dialogues)):
        ids = torch.from_numpy(window.ids.astype(np.int64))[None]
        logits = model(input_ids=ids, use_cache=False).logits[0]
        losses = F.cross_entropy(logits[:-1], ids[0, 1:], reduction="none").tolist()
        for prefix in window.prompts:
            end, is_inside, line = prefix, False, []
            while end < len(window.ids) and window.is_target[end]:
                piece = task.tokenizer.decode([int(window.ids[end])])
                line.append(int(window.ids[end]))
                is_inside = is_inside or "[" in piece
                nats += losses[end - 1]
                inside += losses[end - 1] if is_inside else 0.0
                placeholders += "[" in piece
                is_inside = is_inside and "]" not in piece
                end += 1
            words += len(task.decode(line).split())
    return nats / words, inside / placeholders


@pytest.mark.parametrize("target", ["response", "state+response"])
@pytest.mark.slow
def test_loss_of_the_reply_s_words_alone(target: str) -> None:
    """The same with replies and without, and where a state stands in front."""
    pack = Pack(load_base(make_spec(EMBEDDED_FOLDER)), 1, max_rank=4)
    config = make_config(EMBEDDED_FOLDER, target=target, max_new_tokens=4)
    pack.join("mine", config, None)
    with torch.no_grad():
        word, placeholder = expect_losses(pack, "mine", 3)
    alone = pack.generate([(pack.slots["mine"], ValidationRequest(3, replies=False))])["mine"]
    assert not alone.responses
    assert alone.losses.nats_per_word == pytest.approx(word, rel=1e-4)
    assert alone.losses.nats_per_placeholder == pytest.approx(placeholder, rel=1e-4)
    replied = pack.generate([(pack.slots["mine"], ValidationRequest(3))])["mine"]
    assert replied.losses.nats_per_word == pytest.approx(word, rel=1e-4)
    assert replied.losses.loss_nats == pytest.approx(alone.losses.loss_nats, rel=1e-6)
    assert len(replied.responses) == 3


@pytest.mark.slow
def test_slots_of_one_engine_are_asked_for_different_things() -> None:
    engine = Engine(make_spec(EMBEDDED_FOLDER), slots=2, max_rank=4)
    for key in ("a", "b"):
        engine.join(key, make_config(EMBEDDED_FOLDER, max_new_tokens=24), None)
    plain = engine.evaluate("a", ValidationRequest(4)).score().result
    beside = engine.evaluate("a", ValidationRequest(4, bias=30.0)).score().result
    biased = engine.generate("a", ValidationRequest(4, bias=30.0)).responses
    replies = engine.generate("a", ValidationRequest(4)).responses
    loss = engine.evaluate("b", ValidationRequest(None, replies=False)).score().result
    engine.close()
    assert (loss.combined, loss.bleu, loss.placeholders) == (None, None, None)
    assert loss.n_dialogues > 4 and loss.richness == {} and loss.intervals == {}
    assert loss.nats_per_word is not None and loss.nats_per_word > loss.loss_nats
    assert beside.combined == plain.combined and plain.calibrated is None
    assert beside.calibrated is not None and beside.calibrated["bias"] == 30.0
    assert biased != replies and any("[" in t["response"] for d in biased.values() for t in d)


def test_transformers_own_trials_measure_the_same() -> None:
    values: dict[str, Any] = dict(base_model="tiny", quantisation="fp32", max_new_tokens=4)
    values |= dict(learning_rate=1e-3, schedule="constant", warmup_turns=0, batch_turns=8)
    values |= dict(weight_decay=0.0, clip_norm=1.0, train_turns=8)
    full = open_finetuner(TrialConfig(method="full", **values), "cpu")
    packed = open_finetuner(make_config(EMBEDDED_FOLDER, max_new_tokens=4), "cpu")
    one, other = (f.evaluate(ValidationRequest(3, replies=False)).result for f in (full, packed))
    assert one.combined is other.combined is None
    for name in ("loss_nats", "nats_per_word", "nats_per_placeholder"):
        assert getattr(one, name) == pytest.approx(getattr(other, name), rel=1e-4)
    full.close()
    packed.close()
