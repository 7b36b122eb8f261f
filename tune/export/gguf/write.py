"""The merged model as a GGUF file that llama.cpp computes and tokenises as it was trained."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trainable.trial import ConfigError, TrialConfig
from tune.export.gguf.architecture import Architecture, find_architecture
from tune.export.gguf.hyperparameters import ROPE_FACTORS, add_hyperparameters, spell_rope_factors
from tune.export.gguf.modelfile import MODELFILE, spell_modelfile
from tune.export.gguf.template import spell_jinja
from tune.export.gguf.tensors import list_weights, pick_type
from tune.export.gguf.vocabulary import Reading, add_vocabulary, read_vocabulary

if TYPE_CHECKING:
    from gguf import GGUFWriter


def name_file(kind: str) -> str:
    return f"model-{kind}.gguf"


def check_package() -> None:
    """Raises ConfigError where the package gguf is not installed."""
    try:
        import gguf  # noqa: F401
    except ImportError as error:
        raise ConfigError("--gguf needs the package gguf: run `pip install gguf`") from error


def write_gguf(
    model: Any, config: TrialConfig, reading: Reading, kinds: tuple[str, ...], folder: Path
) -> None:
    """One file for each kind, of the trial's merged fp32 model, and the Modelfile of the first.
    Raises ConfigError, with nothing written, where llama.cpp would compute something else."""
    architecture = find_architecture(model.config, config.max_length_tokens)
    vocabulary = read_vocabulary(reading, model.get_input_embeddings().weight.shape[0])
    chat, end = reading.special.chat, reading.end
    template = spell_jinja(config, reading.tokenizer, chat, end)
    for kind in kinds:
        writer = open_writer(folder / name_file(kind), architecture, kind)
        writer.add_name(config.base_model.rpartition("/")[2])
        add_hyperparameters(writer, model.config, architecture)
        add_vocabulary(writer, vocabulary, reading)
        if template is not None:
            writer.add_chat_template(template)
        write_tensors(writer, model, architecture, kind)
    text = spell_modelfile(config, chat, end, name_file(kinds[0]))
    (folder / MODELFILE).write_text(text, encoding="utf-8")


def open_writer(path: Path, architecture: Architecture, kind: str) -> GGUFWriter:
    from gguf import GGML_QUANT_VERSION, GGUFWriter, LlamaFileType

    types = {"f16": LlamaFileType.MOSTLY_F16, "q8_0": LlamaFileType.MOSTLY_Q8_0}
    writer = GGUFWriter(path, architecture.name)
    writer.add_file_type(types[kind])
    writer.add_quantization_version(GGML_QUANT_VERSION)
    return writer


def write_tensors(writer: GGUFWriter, model: Any, architecture: Architecture, kind: str) -> None:
    """All that was added, then the tensors one after another: a second copy of the whole model
    would not fit where one does."""
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType, quants

    wanted = GGMLQuantizationType[kind.upper()]
    factors = spell_rope_factors(model.config)
    if factors is not None:
        n_bytes, full = factors.nbytes, GGMLQuantizationType.F32
        writer.add_tensor_info(ROPE_FACTORS, factors.shape, np.dtype("float32"), n_bytes, full)
    for name, values in list_weights(model, architecture):
        type_ = pick_type(name, values, wanted)
        block, size = GGML_QUANT_SIZES[type_]
        n_bytes = values.size // block * size
        writer.add_tensor_info(name, values.shape, values.dtype, n_bytes, type_)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    if factors is not None:
        writer.write_tensor_data(factors)
    for name, values in list_weights(model, architecture):
        writer.write_tensor_data(quants.quantize(values, pick_type(name, values, wanted)))
    writer.close()
