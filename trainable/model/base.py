"""The frozen base model: loaded or re-initialised, quantised or not, with its tokenizer."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    BitsAndBytesConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from trainable.combinations import check_compute, check_products
from trainable.declared import check_choice
from trainable.model.conv1d import to_linear
from trainable.model.fp8 import check_device, check_layers, hold_in_fp8
from trainable.model.generation import forget_generation
from trainable.model.gpu_memory import limit_memory
from trainable.model.identity import Identity, identify
from trainable.model.kernels import choose_kernels
from trainable.model.loaded import check_loaded
from trainable.model.positions import count_positions, forget_lengths
from trainable.model.precision import DTYPES, name_dtype, pick_compute_dtype
from trainable.model.quantise import count_params, dequantise, drop_quantiser, has_room, quantise
from trainable.model.random_weights import DrawnByCounter
from trainable.model.source import Source, explained, locate
from trainable.model.special_ids import SpecialIds, check_rows, read_special_ids
from trainable.model.unpacked import open_tokenizer, unpack
from trainable.model.verdicts import key_of
from trainable.system.environment import trusts_remote_code
from trainable.trial import BASE_FIELDS, ConfigError, TrialConfig

FOUR_BIT = ("nf4", "fp4")
INITIAL_SEED = 0  # of initialisation="random": the same weights for every trial


@dataclass(frozen=True, kw_only=True)
class BaseSpec:
    """What decides a base model: the fields of TrialConfig, and how it is held."""

    base_model: str = "tiny"  # "tiny" (embedded), a hub id or a folder
    initialisation: str = "pretrained"  # pretrained | random
    quantisation: str = "nf4"  # nf4 | fp4 | int8 | bf16 | fp32
    double_quantisation: bool | None = None  # nf4 and fp4 only
    compute: str = "auto"  # auto | fp16 | bf16 | fp32
    base_products: str = "compute"  # compute | fp8
    residency: str = "auto"  # 4-bit weights: auto | nf4 (packed, as quantised) | dequantized
    device: str = "auto"  # auto | cpu | cuda | cuda:0 ...
    trust_remote_code: bool = field(default_factory=trusts_remote_code)

    @classmethod
    def of(cls, config: TrialConfig, **how: Any) -> BaseSpec:
        """The one a trial stands on, held as `how` says (residency, device)."""
        return cls(**{name: getattr(config, name) for name in BASE_FIELDS}, **how)

    def __post_init__(self) -> None:
        check_choice("initialisation", self.initialisation, ("pretrained", "random"))
        check_choice("quantisation", self.quantisation, (*FOUR_BIT, "int8", "bf16", "fp32"))
        check_choice("compute", self.compute, ("auto", *DTYPES))
        check_choice("base_products", self.base_products, ("compute", "fp8"))
        check_compute(self.quantisation, self.compute)
        check_products(self.base_products, self.quantisation, self.compute)
        check_choice("residency", self.residency, ("auto", "nf4", "dequantized"))
        is_chosen = self.quantisation in FOUR_BIT and self.base_products == "compute"
        if self.residency != "auto" and not is_chosen:
            raise ConfigError(
                f"residency={self.residency} has no meaning with quantisation={self.quantisation} "
                f"and base_products={self.base_products} (only with nf4 or fp4, multiplied in what "
                "passes compute in): leave it at auto"
            )


@dataclass(frozen=True, kw_only=True)
class Base:
    """A frozen model in train mode, whose dropout probabilities are all 0: train mode then computes
    what eval mode does, and keeps bitsandbytes' CPU kernels from repacking the weights (lossy)."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    residency: str  # nf4 | fp4 | dequantized | int8 | fp8 | bf16 | fp16 | fp32: how it is held
    total_params: int  # tied ones once, without adapters
    compute_dtype: torch.dtype
    special: SpecialIds
    identity: Identity = field(default_factory=dict)  # nothing told: nothing is compared
    positions: int | None = None  # rows of its table of positions; None: they are computed
    key: str | None = None  # of the self-check's verdict; None: weights that are nobody's

    @property
    def device(self) -> torch.device:
        return self.model.device

    @property
    def checked_on(self) -> str:
        """Where, and in what, its self-check is made: one of `verdicts.DEVICES`."""
        return self.device.type + ("-fp16" if self.compute_dtype == torch.float16 else "")

    @property
    def is_encoder_decoder(self) -> bool:
        return bool(self.model.config.is_encoder_decoder)


def load_base(spec: BaseSpec) -> Base:
    """The base model of that spec on its device. Raises ConfigError when it is not there, has no
    tokenizer, is gated, needs remote code, or does not fit the spec."""
    choose_kernels()
    source = unpack(locate(spec.base_model))
    device = pick_device(spec.device)
    if spec.base_products == "fp8":
        check_device(device)
    limit_memory(device)
    dtype = pick_compute_dtype(spec.quantisation, spec.compute, device)
    with explained(spec.base_model):
        config = AutoConfig.from_pretrained(
            source.name, trust_remote_code=spec.trust_remote_code, **source.arguments
        )
        tokenizer = load_tokenizer(spec)
        silence_dropout(config)
        model = build_model(spec, source, config, dtype, device)
    residency = settle(model, spec, dtype)
    special = read_special_ids(tokenizer, spec.base_model)
    check_rows(special, count_rows(model), spec.base_model)
    is_random = spec.initialisation == "random"
    return Base(
        model=model,
        tokenizer=tokenizer,
        residency=residency,
        total_params=count_params(model),
        compute_dtype=dtype,
        special=special,
        identity=identify(spec.base_model, tokenizer, special, is_random=is_random),
        positions=count_positions(model),
        key=key_of(spec),
    )


def count_rows(model: PreTrainedModel) -> int:
    """Tokens that the model can read."""
    embeddings: Any = model.get_input_embeddings()
    return int(embeddings.weight.shape[0])


def pick_device(device: str) -> torch.device:
    """auto: a GPU where there is one. Raises ConfigError where "cuda" has none."""
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(
            f"device={device} needs an NVIDIA GPU that torch can use, and there is none: AMD's and "
            "Apple's are not used, everything runs on the CPU there (device cpu)"
        )
    return torch.device(device)


def silence_dropout(config: Any) -> None:
    """Sets every dropout probability of a configuration (and of those inside it) to 0, and the
    noise that experts are chosen with."""
    for name, value in list(vars(config).items()):
        if isinstance(value, float) and re.search("drop|jitter", name):
            setattr(config, name, 0.0)
        elif isinstance(value, PreTrainedConfig):
            silence_dropout(value)


def build_model(
    spec: BaseSpec, source: Source, config: Any, dtype: torch.dtype, device: torch.device
) -> PreTrainedModel:
    """The model with its weights, quantised, on the device."""
    kind: Any = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
    is_quantised = spec.quantisation not in DTYPES
    arguments: dict[str, Any] = {"trust_remote_code": spec.trust_remote_code}
    if spec.initialisation == "random":
        gpus = [device] if device.type == "cuda" else []
        with torch.random.fork_rng(devices=gpus), device, DrawnByCounter(INITIAL_SEED):
            torch.manual_seed(INITIAL_SEED)
            model = kind.from_config(config, dtype=dtype, **arguments)
        model = model.to(device)  # what its code has put elsewhere
    else:
        if is_quantised and source.gguf_file is None:
            arguments["quantization_config"] = bitsandbytes_config(spec, dtype)
        arguments |= {"config": config, "dtype": dtype, "device_map": {"": device}}
        arguments |= {"output_loading_info": True, "ignore_mismatched_sizes": True}
        model, found = kind.from_pretrained(source.name, **source.arguments, **arguments)
        check_loaded(model, found, spec.base_model)
    model.generation_config = forget_generation(model.generation_config)
    to_linear(model)
    if source.gguf_file is not None:
        drop_quantiser(model)
    if is_quantised:
        quantise(model, spec.quantisation, bool(spec.double_quantisation))
    return model


def bitsandbytes_config(spec: BaseSpec, dtype: torch.dtype) -> BitsAndBytesConfig:
    if spec.quantisation == "int8":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=spec.quantisation,
        bnb_4bit_use_double_quant=bool(spec.double_quantisation),
        bnb_4bit_compute_dtype=dtype,
    )


def settle(model: PreTrainedModel, spec: BaseSpec, dtype: torch.dtype) -> str:
    """Freezes the model in train mode without dropout, dequantises it where asked for or where
    there is room, or holds it in FP8, and returns the residency."""
    model.requires_grad_(False)
    forget_lengths(model)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    residency = name_dtype(dtype) if spec.quantisation in DTYPES else spec.quantisation
    if spec.base_products == "fp8":
        check_layers(model, spec.base_model)
        hold_in_fp8(model)
        dequantise(model, dtype)  # what is left in 4 bits
        drop_quantiser(model)
        residency = "fp8"
    elif spec.residency == "dequantized" or (
        spec.quantisation in FOUR_BIT
        and spec.residency == "auto"
        and has_room(model, dtype, model.device)
    ):
        dequantise(model, dtype)
        drop_quantiser(model)
        residency = "dequantized"
    model.train()
    return residency


def load_tokenizer(spec: BaseSpec) -> PreTrainedTokenizerBase:
    """Raises ConfigError where there is none."""
    try:
        return open_tokenizer(locate(spec.base_model), trust_remote_code=spec.trust_remote_code)
    except (OSError, ValueError, TypeError, AttributeError, KeyError) as error:
        if isinstance(error, ConfigError) or any(t in str(error) for t in ("custom code", "gated")):
            raise
        raise ConfigError(
            f"a base model needs a tokenizer, and {spec.base_model!r} has none that loads "
            f"({str(error).splitlines()[0][:150]}): save it there with tokenizer.save_pretrained"
        ) from error
