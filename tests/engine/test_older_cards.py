"""The GPU's kernels compiled for a T4, and that of FP8 for an H100, on any machine: `make kernels`,
with Triton installed."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import Any

import pytest

if os.environ.get("TRITON_INTERPRET") == "1" or find_spec("triton") is None:
    pytest.skip("run it with Triton installed, and not interpreted", allow_module_level=True)

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from trainable.engine.kernels import adamw, fp8, fused, norms
from trainable.engine.kernels.dropout_mask import _mask
from trainable.engine.kernels.row_attention import _attend

T4, H100 = GPUTarget("cuda", 75, 32), GPUTarget("cuda", 90, 32)
SHARED_BYTES = 2**16  # that a T4's block may have
ROWS = {"WIDTH": 128, "VALUE_WIDTH": 128, "FEATURES": 128, "VALUES": 128}
RULES = {"GROUP": 1, "BLOCK": 64, "LINES": 16, "HAS_FIRST": True, "HAS_CAP": True}
ROTARY = {"BACK": False, "HEADS": 32, "HALF": 64, "REST": 1, "IS_WHOLE": True}
STEPPED = "params average exp_avg exp_avg_sq grads numbers decays rates"
# kernel -> constants of llama-7b, pointers that are not fp16, numbers that are not int32
KERNELS: dict[Any, tuple[dict[str, Any], str, str]] = {
    _attend: ({**ROWS, **RULES, "HAS_SINKS": True}, "starts lengths firsts", "scale cap"),
    _mask: ({"TOKENS": 16, "FEATURES": 128}, "token_keys feature_keys keep", ""),
    norms._norm: ({"HAS_MORE": True, "BLOCK": 4096}, "", "epsilon"),
    norms._norm_back: ({"HAS_BESIDE": True, "BLOCK": 4096}, "", "epsilon"),
    fused._gate: ({"BLOCK": 1024}, "", "linear cubic"),
    fused._gate_back: ({"BLOCK": 1024}, "", "linear cubic"),
    fused._rotate: (ROTARY, "", ""),
    fused._loss: ({"BLOCK": 4096}, "labels weights nats", ""),
    adamw._step: ({"NUMBERS": 1024}, STEPPED, ""),
}
POINTERS = {"starts": "*i64", "lengths": "*i64", "firsts": "*i64", "labels": "*i64"}
POINTERS |= {"token_keys": "*i32", "feature_keys": "*i32", "keep": "*fp32"}
POINTERS |= {"weights": "*fp32", "nats": "*fp32"}
POINTERS |= dict.fromkeys(STEPPED.split(), "*fp32")
NUMBERS = ("width", "total", "heads", "features", "vocabulary", "tokens")
NUMBERS += ("row", "numbers_slot", "pace_slot", "pace_number")


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda kernel: kernel.__name__)
def test_a_kernel_runs_where_there_is_no_bf16(kernel: Any) -> None:
    """In fp16: nothing of a newer card in its code (Triton's assembler would refuse most of it),
    and no more shared memory than a T4 has."""
    constants, others, floats = KERNELS[kernel]
    signature = {}
    for name in kernel.arg_names:
        kind = "*fp16"
        if name in constants:
            kind = "constexpr"
        elif name in others.split():
            kind = POINTERS[name]
        elif name in floats.split():
            kind = "fp32"
        elif name in NUMBERS:
            kind = "i32"
        signature[name] = kind
    source = ASTSource(fn=kernel, signature=signature, constexprs=constants)
    made = triton.compile(source, target=T4, options={"num_warps": 4})
    assert "bf16" not in made.asm["ptx"] and "cp.async" not in made.asm["ptx"]
    assert ".target sm_75" in made.asm["ptx"] and made.metadata.shared <= SHARED_BYTES


def test_rows_are_cast_by_the_card_itself() -> None:
    """In 8 bits, with 16 bytes at a time."""
    kinds = dict.fromkeys(("x", "second", "third"), "*bf16")
    kinds |= {"factors": "*fp32", "scales": "*fp32", "values": "*fp8e4nv"}
    kinds |= {"largest": "fp32", "smallest": "fp32"}
    constants = {"HAS_FACTORS": True, "BLOCK": fp8.BLOCK}
    names = fp8._quantise.arg_names
    signature = {n: "constexpr" if n in constants else kinds.get(n, "i32") for n in names}
    aligned = [place for place, n in enumerate(names) if signature[n] not in ("fp32", "constexpr")]
    source = ASTSource(
        fn=fp8._quantise,
        signature=signature,
        constexprs=constants,
        attrs={(place,): [["tt.divisibility", 16]] for place in aligned},
    )
    code = triton.compile(source, target=H100, options={"num_warps": 8}).asm["ptx"]
    assert "cvt.rn.satfinite.e4m3x2.f32" in code
    assert "ld.global.v4.b32" in code and "st.global.v4.b32" in code
