"""What an engine's memory affords: tokens of a training pass, keys and values while generating."""

import gc
from typing import Any

import torch

from trainable.model.gpu_memory import GIB, read_free

CACHE_SHARE = 0.5  # of the free GPU memory, for keys and values while generating
CPU_CACHE_BYTES = GIB
CPU_PASS_TOKENS = 4096
# Whole steps of eight trials at 32 turns of MultiWOZ are 27k tokens: in 24k, 92 % of them were cut
# in two. On one H100 larger passes of SmolLM2-135M get hardly faster a token (192k tokens/s at 16k
# tokens a pass, 196k at 32k); activations without recomputation took 46 bytes a layer and hidden
# number.
MAX_PASS_TOKENS = 32768
ACTIVATION_BYTES = 46
BANK_SHARE = 0.25  # of the free GPU memory, for slots' rows where nobody asks for a number of them
CPU_BANK_BYTES = GIB
MOST_SLOTS = 32
ACTIVATION_SHARE = 0.3  # they are held twice: of passes launched one by one, and of recorded ones


class MemoryBudget:
    """Tokens that one pack's passes may bring, and tokens whose keys and values it may keep; fewer
    of either once memory ran out."""

    def __init__(
        self,
        sizes: Any,
        dtype: torch.dtype,
        device: torch.device,
        share: float,
        pass_tokens: int | None,
    ) -> None:
        """`share`: what part of a GPU's memory is this pack's, in (0, 1]. `pass_tokens`: None for
        what the memory affords."""
        self.sizes, self.dtype, self.device, self.share = sizes, dtype, device, share
        self.asked_tokens = pass_tokens
        self.measure()

    def measure(self) -> None:
        """Anew, of what is free now."""
        self.first_pass_tokens = self.asked_tokens or afford_pass(
            self.sizes, self.device, self.share
        )
        self.pass_tokens = self.first_pass_tokens
        self.cache_cut: float = 1  # more once memory ran out for keys and values

    def halve_passes(self, longest: int) -> bool:
        """False: a pass could not hold the longest dialogue, of so many tokens, any more."""
        if self.pass_tokens < longest:
            return False
        self.pass_tokens //= 2
        return True

    def halve_cache(self, longest: int) -> bool:
        """The same of keys and values."""
        if self.room_tokens() < longest:
            return False
        self.cache_cut *= 2
        return True

    def restore_passes(self) -> None:
        self.pass_tokens = self.first_pass_tokens

    def restore_cache(self) -> None:
        self.cache_cut = 1

    def room_tokens(self) -> int:
        """How many tokens' keys and values may be kept at a time while generating."""
        tokens = afford_cache(self.sizes, self.dtype, self.device, self.share)
        return int(tokens / self.cache_cut)


def afford_pass(sizes: Any, device: torch.device, share: float) -> int:
    """Tokens of a pass whose activations take a modest part of the memory that is left to an engine
    with that share of the GPU. `sizes`: the model's configuration."""
    if device.type != "cuda":
        return CPU_PASS_TOKENS
    free = measure_free_bytes(device)
    bytes_a_token = ACTIVATION_BYTES * sizes.num_hidden_layers * sizes.hidden_size
    return min(MAX_PASS_TOKENS, int(share * ACTIVATION_SHARE * free / bytes_a_token))


def afford_slots(slot_bytes: int, device: torch.device, share: float) -> int:
    """Slots whose rows take a modest share of the memory, at least 1."""
    room = CPU_BANK_BYTES
    if device.type == "cuda":
        room = int(share * BANK_SHARE * measure_free_bytes(device))
    return min(MOST_SLOTS, max(1, room // slot_bytes))


def afford_cache(sizes: Any, dtype: torch.dtype, device: torch.device, share: float) -> int:
    """Tokens whose keys and values may be kept at a time, likewise."""
    return int(count_free_bytes(device, share) / count_cache_bytes(sizes, dtype))


def count_free_bytes(device: torch.device, share: float) -> float:
    """For keys and values: of a GPU, a part of this engine's share of what is free."""
    if device.type != "cuda":
        return CPU_CACHE_BYTES
    free, _ = read_free(device)
    idle = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return CACHE_SHARE * (share * free + idle)


def measure_free_bytes(device: torch.device) -> int:
    """Of a GPU, with what torch holds of it to no purpose."""
    torch.cuda.empty_cache()
    return read_free(device)[0]


def give_back_memory() -> None:
    """Of objects that are gone, to the GPU's other processes."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def count_cache_bytes(sizes: Any, dtype: torch.dtype) -> int:
    """Bytes of one token's keys and values."""
    heads = sizes.num_attention_heads
    width = getattr(sizes, "head_dim", None) or sizes.hidden_size // heads
    kv_heads = getattr(sizes, "num_key_value_heads", None) or heads
    return int(2 * sizes.num_hidden_layers * kv_heads * width * dtype.itemsize)


def peak_gib(device: torch.device) -> float:
    """The most that torch has held there since its counters were reset; 0 on the CPU."""
    return torch.cuda.max_memory_allocated(device) / GIB if device.type == "cuda" else 0.0


def describe_device(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
