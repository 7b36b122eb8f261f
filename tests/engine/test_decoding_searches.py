"""Beam and contrastive search against transformers' `generate` and the definition."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_trials import make_config, make_spec
from torch.nn import functional as F

from trainable.corpus.encode import Window
from trainable.engine.pack import Pack
from trainable.model.base import Base, load_base
from trainable.model.source import EMBEDDED_FOLDER
from trainable.result import ValidationRequest

DIALOGUES, NEW_TOKENS = 2, 16
BEAM: dict[str, Any] = {"decoding": "beam", "num_beams": 3, "length_penalty": 1.0}
CONTRASTIVE: dict[str, Any] = {"decoding": "contrastive", "top_k": 4, "penalty_alpha": 0.6}


@pytest.fixture(params=["llama", "neox", "embedded"])
def base_folder(request: pytest.FixtureRequest, bases: dict[str, Path]) -> Path:
    """The embedded model ends its replies; random ones hardly ever do."""
    return EMBEDDED_FOLDER if request.param == "embedded" else bases[request.param]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def decode(folder: Path, settings: list[dict[str, Any]]) -> tuple[Pack, list[Any]]:
    """The pack, and the replies under each of the settings, all decoded together."""
    pack = Pack(load_base(make_spec(folder)), len(settings), max_rank=4, pass_tokens=2048)
    untuned = {
        **dict.fromkeys(("lora_rank", "alpha_over_rank", "rslora", "lora_modules")),
        **dict.fromkeys(("lora_dropout", "learning_rate", "schedule", "warmup_turns")),
        **dict.fromkeys(("batch_turns", "weight_decay", "clip_norm")),
        **{"method": "none", "train_turns": 0, "max_new_tokens": NEW_TOKENS},
    }
    for number, changes in enumerate(settings):
        pack.join(str(number), make_config(folder, **{**untuned, **changes}), None)
    slots = [pack.slots[str(number)] for number in range(len(settings))]
    made = pack.generate([(slot, ValidationRequest(DIALOGUES)) for slot in slots])
    return pack, [made[str(number)][0] for number in range(len(settings))]


def walk_prompts(pack: Pack) -> Iterator[tuple[Window, int, torch.Tensor]]:
    for window in pack.slots["0"].task.held_out("validation", DIALOGUES):
        for turn, prefix in zip(window.turns, window.prompts, strict=True):
            yield window, turn, torch.from_numpy(window.ids[:prefix]).long()


@pytest.mark.parametrize(
    "changes",
    [
        {"num_beams": 2, "length_penalty": 0.0},
        {"num_beams": 4, "length_penalty": -1.0},
        {"num_beams": 3, "length_penalty": 2.0, "repetition_penalty": 1.2, "min_new_tokens": 3},
        {"num_beams": 3, "no_repeat_ngram_size": 2},
        {"num_beams": 3, "placeholder_bias": 1.5},
    ],
)
@pytest.mark.slow
def test_beam_search_equals_generate(base_folder: Path, changes: dict[str, Any]) -> None:
    setting = {**BEAM, **changes}
    pack, (made,) = decode(base_folder, [setting])
    base = load_base(make_spec(base_folder))
    for window, turn, ids in walk_prompts(pack):
        out = base.model.generate(  # type: ignore[operator]
            input_ids=ids[None],
            attention_mask=torch.ones_like(ids)[None],
            do_sample=False,
            max_new_tokens=NEW_TOKENS,
            num_beams=setting["num_beams"],
            length_penalty=setting["length_penalty"],
            repetition_penalty=setting.get("repetition_penalty", 1.0),
            no_repeat_ngram_size=setting.get("no_repeat_ngram_size", 0),
            min_new_tokens=setting.get("min_new_tokens", 0),
            sequence_bias=base.special.spell_bias(setting.get("placeholder_bias", 0.0)),
            eos_token_id=base.special.eos,
            pad_token_id=base.special.pad,
        )
        expected = pack.slots["0"].task.decode(out[0, len(ids) :].tolist())
        assert made[window.dialogue_id][turn]["response"] == expected


def test_a_bias_gives_more_placeholders() -> None:
    _, replies = decode(EMBEDDED_FOLDER, [{"placeholder_bias": bias} for bias in (0.0, 4.0, 8.0)])
    given = [
        sum(turn["response"].count("[") for turns in made.values() for turn in turns)
        for made in replies
    ]
    assert given[0] < given[1] < given[2]


def test_some_of_those_beams_end_by_themselves() -> None:
    pack, (made,) = decode(EMBEDDED_FOLDER, [BEAM])
    tokens = [
        len(pack.slots["0"].task.tokenise([turn["response"]])[0])
        for turns in made.values()
        for turn in turns
    ]
    assert min(tokens) < NEW_TOKENS - 4


@torch.no_grad()
def search_contrastively(base: Base, ids: torch.Tensor, top_k: int, alpha: float) -> list[int]:
    """The definition, with a whole forward pass for every candidate."""
    made: list[int] = []
    model: Any = base.model
    for _ in range(NEW_TOKENS):
        out = model(input_ids=ids[None], output_hidden_states=True)
        probabilities, candidates = out.logits[0, -1].softmax(-1).topk(top_k)
        before = F.normalize(out.hidden_states[-1][0], dim=-1)
        longer = torch.cat([ids.expand(top_k, -1), candidates[:, None]], dim=1)
        hidden = model(input_ids=longer, output_hidden_states=True).hidden_states[-1][:, -1]
        likeness = (F.normalize(hidden, dim=-1) @ before.T).amax(-1)
        chosen = candidates[((1 - alpha) * probabilities - alpha * likeness).argmax()]
        if chosen == base.special.eos:
            break
        made.append(int(chosen))
        ids = torch.cat([ids, chosen[None]])
    return made


@pytest.mark.parametrize(("top_k", "alpha"), [(4, 0.6), (6, 0.2)])
@pytest.mark.slow
def test_contrastive_search_is_what_it_is_defined_to_be(
    base_folder: Path, top_k: int, alpha: float
) -> None:
    setting = {**CONTRASTIVE, "top_k": top_k, "penalty_alpha": alpha}
    pack, (made,) = decode(base_folder, [setting])
    base = load_base(make_spec(base_folder))
    for window, turn, ids in list(walk_prompts(pack))[:5]:
        expected = pack.slots["0"].task.decode(search_contrastively(base, ids, top_k, alpha))
        assert made[window.dialogue_id][turn]["response"] == expected


def test_without_a_penalty_contrastive_search_is_greedy(bases: dict[str, Path]) -> None:
    settings = [{}, {**CONTRASTIVE, "penalty_alpha": 0.0}, {**CONTRASTIVE, "penalty_alpha": 1.0}]
    _, (greedy, unpunished, punished) = decode(bases["llama"], settings)
    assert greedy == unpunished != punished


@pytest.mark.slow
def test_settings_of_one_model_share_the_prefill(bases: dict[str, Path]) -> None:
    """Settings decoded together say what each says alone, and read the prompts once."""
    settings: list[dict[str, Any]] = [
        {},
        {"repetition_penalty": 1.3},
        {"min_new_tokens": 6},
        {"max_new_tokens": 5},
        {"placeholder_bias": 2.0},
        BEAM,
        {**BEAM, "num_beams": 5, "length_penalty": -1.0},
        CONTRASTIVE,
        {**CONTRASTIVE, "top_k": 2, "penalty_alpha": 0.4},
        *({"decoding": "sampling", "temperature": 0.5 + 0.1 * n} for n in range(12)),
    ]
    widths: list[int] = []
    pack_forward = Pack.forward

    def count(self: Pack, ids: Any, positions: Any, packing: Any) -> Any:
        if hasattr(packing, "borders"):
            widths.append(ids.shape[1])
        return pack_forward(self, ids, positions, packing)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Pack, "forward", count)
        pack, together = decode(bases["llama"], settings)
    windows = pack.slots["0"].task.held_out("validation", DIALOGUES)
    assert sum(widths) == sum(len(window.ids) for window in windows)
    for number in (0, 2, 4, 6, 15):
        assert together[number] == decode(bases["llama"], [settings[number]])[1][0]
    assert len({str(made) for made in together}) > 10
