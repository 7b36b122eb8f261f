"""Memory that ran out, of a GPU or the host: known, and told in one line."""

import resource
import sys


def is_out_of_memory(error: BaseException) -> bool:
    """Of the GPU or the host. torch's kind is known by its name: torch is not imported here."""
    is_torchs = type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error)
    return isinstance(error, MemoryError) or is_torchs


def describe_shortage(error: BaseException) -> str:
    """With the most that this process has held, and the first sentence of what was said."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        peak_gib = torch.cuda.max_memory_allocated() / 2**30
    else:
        peak_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    reason = str(error).partition(". ")[0].strip() or type(error).__name__
    return f"out of memory at {peak_gib:.1f} GiB: {reason}"
