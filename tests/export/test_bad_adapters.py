"""Adapters that cannot be what they say: refused in one line, by the field or the tensor."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file

from trainable.model.adapter_fields import check_adapter
from trainable.result import ValidationRequest
from trainable.solo.choose import open_finetuner, open_plain
from trainable.storage.adapter import inherit
from trainable.trial import ConfigError
from tune.bench.foreign import DIALOGUES, load_plain, make_adapter, measure_loss, spell
from tune.evaluate import main as evaluate
from tune.export.tokens import load_tokens
from tune.plan.checks import check_materials


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_adapter({}, tmp_path_factory.mktemp("plain"))


def edit_fields(folder: Path, **fields: Any) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def edit_tensors(folder: Path, change: Callable[[dict[str, torch.Tensor]], Any]) -> None:
    path = folder / "adapter_model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)


def widen(tensors: dict[str, torch.Tensor]) -> None:
    for name in tensors:
        if ".lora_A." in name:
            tensors[name] = torch.zeros(4, 64)


Q0 = "base_model.model.model.layers.0.self_attn.q_proj"
BAD: dict[str, tuple[Callable[[Path], Any], str]] = {
    "another kind": (lambda f: edit_fields(f, peft_type="IA3"), "peft_type must be LORA"),
    "another task": (lambda f: edit_fields(f, task_type="SEQ_CLS"), "task_type must be CAUSAL_LM"),
    "no rank": (lambda f: edit_fields(f, r=None), "r must be a whole number above 0"),
    "a text for alpha": (lambda f: edit_fields(f, lora_alpha="x"), "lora_alpha must be a number"),
    "a package to run": (
        lambda f: edit_fields(f, megatron_config={"a": 1}, megatron_core="megatron.core"),
        "megatron_config must be empty",
    ),
    "a field of tomorrow": (
        lambda f: edit_fields(f, use_future_lora=True),
        "does not know the field use_future_lora=True",
    ),
    "fewer layers named": (
        lambda f: edit_fields(f, target_modules=["q_proj"]),
        "leaves out model.layers.0.self_attn.v_proj",
    ),
    "more layers named": (
        lambda f: edit_fields(f, target_modules=["q_proj", "v_proj", "k_proj"]),
        "holds none of model.layers.0.self_attn.k_proj",
    ),
    "no pattern": (lambda f: edit_fields(f, target_modules="(q_proj"), "target_modules must be"),
    "a tensor less": (
        lambda f: edit_tensors(f, lambda t: t.pop(f"{Q0}.lora_B.weight")),
        "q_proj.lora_B is not there",
    ),
    "a strange tensor": (
        lambda f: edit_tensors(f, lambda t: t.update({"lora_C": torch.ones(1)})),
        "finds no place for 1 of the tensors",
    ),
    "layers of another model": (
        lambda f: edit_tensors(
            f, lambda t: t.update({f"{Q0.replace('.0.', '.99.')}.lora_A.weight": torch.ones(4, 4)})
        ),
        "layers that the base model does not have",
    ),
    "other shapes": (lambda f: edit_tensors(f, widen), r"q_proj.lora_A is \[4, 64\], where"),
    "other shapes, by peft": (
        lambda f: [edit_tensors(f, widen), edit_fields(f, init_lora_weights="olora")],
        "does not fit its base model",
    ),
    "cut weights": (
        lambda f: (f / "adapter_model.safetensors").write_bytes(b"{}"),
        "cannot be read",
    ),
    "pickled weights": (
        lambda f: (f / "adapter_model.safetensors").rename(f / "adapter_model.bin"),
        "save it anew as safetensors",
    ),
}


@pytest.mark.parametrize("fault", BAD)
def test_what_is_wrong_is_named(
    fault: str, plain: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change, message = BAD[fault]
    folder = Path(shutil.copytree(plain, tmp_path / "adapter"))
    change(folder)
    asked = ["--corpus", "cambridge", "--dialogues", "1", "--device", "cpu"]
    assert evaluate(["--adapter", str(folder), *asked]) == 2
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.startswith("error: ") and re.search(message, told)


DEEP = "[" * 100_000


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(("trial.json", json.dumps({"config": value})) for value in ([1], "x", 3)),
        *(("trial.json", json.dumps({"base": value})) for value in ([1], "x", 3)),
        *(("trial.json", text) for text in ("[]", "", DEEP, "\0")),
        *(("adapter_config.json", text) for text in ("[]", '"x"', '[["r", 8]]', "", DEEP)),
        *(("adapter_config.json", json.dumps({"r": r})) for r in (0, "8", None, [8], True, -8)),
        *(("adapter_config.json", json.dumps({"r": 8, "lora_alpha": a})) for a in ("x", None, [])),
    ],
)
def test_no_file_of_an_adapter_s_ends_in_a_traceback(
    plain: Path, tmp_path: Path, name: str, text: str
) -> None:
    folder = Path(shutil.copytree(plain, tmp_path / "adapter"))
    (folder / name).write_text(text)
    with pytest.raises(ConfigError, match=name):
        inherit(str(folder))


def test_parts_that_are_null_tell_nothing(plain: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(plain, tmp_path / "adapter"))
    (folder / "trial.json").write_text('{"config": null, "base": null}')
    assert (
        inherit(str(folder))["lora_rank"]
        == json.loads((folder / "adapter_config.json").read_text())["r"]
    )
    check_adapter(spell(folder))


@pytest.mark.parametrize("value", [3, {"q_proj": 1}, [["q_proj"]], "((", 1.5])
def test_layers_that_cannot_be_named_are_one_line(plain: Path, tmp_path: Path, value: Any) -> None:
    folder = Path(shutil.copytree(plain, tmp_path / "adapter"))
    edit_fields(folder, target_modules=value)
    if value == 3:  # layers_to_transform alone counts them
        edit_fields(folder, target_modules=["q_proj", "v_proj"], exclude_modules={"a": 1})
    with pytest.raises(ConfigError, match="must be a pattern or names of layers"):
        check_adapter(spell(folder))


def test_another_base_is_refused_by_name_and_by_weights(plain: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(plain, tmp_path / "adapter"))
    check_adapter(spell(folder))
    other = str(make_other_base(tmp_path / "other"))
    with pytest.raises(ConfigError, match="made on another base model: its weights differ"):
        check_adapter(spell(folder, base_model=other))
    edit_fields(folder, base_model_name_or_path="lab/small-model")
    with pytest.raises(ConfigError, match="correct base_model_name_or_path"):
        check_adapter(spell(folder, base_model="lab/large-model"))
    check_adapter(spell(folder, base_model="mirror/Small-Model"))


def make_other_base(folder: Path) -> Path:
    """The embedded model with weights of its own."""
    model = load_plain()
    with torch.no_grad():
        model.model.layers[0].mlp.up_proj.weight.add_(0.01)
    model.bfloat16().save_pretrained(folder)
    load_tokens(spell(Path())).tokenizer.save_pretrained(folder)
    return folder


TRAINED: dict[str, Any] = {
    **{"method": "lora", "lora_modules": "qv", "lora_rank": 4, "alpha_over_rank": 2.0},
    **{"rslora": False, "lora_dropout": 0.0, "learning_rate": 1e-3, "schedule": "constant"},
    **{"warmup_turns": 0, "batch_turns": 8, "weight_decay": 0.0, "clip_norm": 1.0},
}


FULL = {"method": "full", **{n: None for n in TRAINED if n.startswith(("lora", "alpha", "rs"))}}


@pytest.mark.parametrize("open_it", [open_finetuner, open_plain], ids=["engine", "peft"])
def test_a_trial_of_another_alpha_goes_on_from_the_same_function(
    open_it: Callable[..., Any], plain: Path
) -> None:
    loss = measure_loss(PeftModel.from_pretrained(load_plain(), plain).eval())
    finetuner = open_it(spell(plain, **{**TRAINED, "alpha_over_rank": 0.5}), "cpu")
    assert finetuner.generate(ValidationRequest(DIALOGUES)).losses.loss_nats == pytest.approx(
        loss, rel=1e-5
    )
    finetuner.close()


@pytest.mark.parametrize(
    ("settings", "fields", "message"),
    [
        ({"use_dora": True}, {}, "give --set dora=true"),
        ({"modules_to_save": ["lm_head"]}, {}, "only a plain LoRA.*modules_to_save="),
        ({}, {"lora_rank": 8}, "give --set lora_rank=4"),
        ({}, FULL, "starts from no adapter"),
        ({}, {"lora_modules": "attention"}, "k_proj is the trial's and not the adapter's"),
    ],
)
def test_a_trial_does_not_go_on_from_what_it_cannot_train(
    settings: dict[str, Any], fields: dict[str, Any], message: str, tmp_path: Path
) -> None:
    folder = make_adapter(settings, tmp_path)
    with pytest.raises(ConfigError, match=message):
        open_finetuner(spell(folder, **{**TRAINED, **fields}), "cpu")


def test_a_sweep_takes_up_the_shape_of_an_adapter_and_refuses_another(plain: Path) -> None:
    own = inherit(str(plain))
    assert (own["lora_rank"], own["alpha_over_rank"], own["rslora"]) == (4, 2.0, False)
    check_materials([spell(plain, **TRAINED)])
    with pytest.raises(ConfigError, match="lora_rank=4"):
        check_materials([spell(plain, **{**TRAINED, "lora_rank": 2})])
