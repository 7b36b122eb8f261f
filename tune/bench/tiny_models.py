"""Tiny random models of many architectures: what the packed engine is compared on.

Two layers of 64 features, the embedded model's tokenizer, weights large enough that every rule of
an architecture shows in its logits. Norms and biases are moved off their neutral values.
"""

from collections import ChainMap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

READ = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))


def complete(fields: Mapping[str, Any]) -> dict[str, Any]:
    """With those of the sets that they are like; the parts inside a wrapper, too."""
    own = {
        name: complete(value) if isinstance(value, Mapping) else value
        for name, value in fields.items()
        if name != "like"
    }
    sets = [complete(READ["sets"][name]) for name in fields.get("like", ())]
    return dict(ChainMap(own, *reversed(sets)))


# name -> the class of its configuration in transformers, and the fields
MODELS = {name: complete(fields) for name, fields in READ["models"].items()}


def write_model(name: str, folder: Path) -> Path:
    """The folder with that model's checkpoint, made if it is not there yet."""
    import torch
    import transformers

    from trainable.model.source import EMBEDDED_FOLDER

    if (folder / "tokenizer.json").exists():
        return folder
    fields = {**MODELS[name]}
    kind = getattr(transformers, fields.pop("class"))
    tokenizer = transformers.AutoTokenizer.from_pretrained(EMBEDDED_FOLDER)
    ends = {f"{end}_token_id": getattr(tokenizer, f"{end}_token_id") for end in ("bos", "eos")}
    pad = {"pad_token_id": tokenizer.pad_token_id or 0}
    text = {"vocab_size": len(tokenizer), **ends, **pad}
    for part in {"text_config", "encoder", "decoder"} & fields.keys():  # of several models in one
        fields[part] = {**text, **fields[part]}
    config = kind(**{**text, **fields})
    torch.manual_seed(0)
    several = transformers.AutoModelForSeq2SeqLM
    auto = several if config.is_encoder_decoder else transformers.AutoModelForCausalLM
    model = auto.from_config(config)
    with torch.no_grad():
        for path, parameter in model.named_parameters():
            if parameter.ndim == 1 and ("norm" in path.lower() or path.endswith(("bias", "sinks"))):
                parameter += 0.1 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
