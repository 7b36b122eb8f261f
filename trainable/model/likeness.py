"""How alike two texts are in meaning, by the base model's own input embeddings."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from trainable.model.base import BaseSpec, load_tokenizer
from trainable.model.source import explained, list_weight_files, locate
from trainable.trial import ConfigError

# what architectures call their input embeddings
TABLES = ("embed_tokens.weight", "wte.weight", "word_embeddings.weight", "embed_in.weight")


@lru_cache(maxsize=2)
def open_likeness(base_model: str) -> Callable[[str, str], float]:
    """The cosine in 0..1 (below 0 counts as 0) of the means of two texts' token embeddings, from
    each of which the vocabulary's mean is taken: what all tokens share says nothing (Mu and
    Viswanath 2018, arXiv 1702.01417). Raises ConfigError without safetensors."""
    table = read_embeddings(base_model)
    spec = BaseSpec(base_model=base_model, quantisation="fp32")
    tokenizer = load_tokenizer(spec, locate(base_model))
    centred = table - table.mean(axis=0)

    @lru_cache(maxsize=1 << 16)
    def place(text: str) -> NDArray[np.float32]:
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        mean = centred[ids].mean(axis=0) if ids else np.zeros(centred.shape[1], np.float32)
        return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-9), dtype=np.float32)

    def compare(reply: str, reference: str) -> float:
        if reply.strip() == reference.strip():
            return 1.0
        return float(np.clip(place(reply) @ place(reference), 0.0, 1.0))

    return compare


def read_embeddings(base_model: str) -> NDArray[np.float32]:
    """[vocabulary, width], read alone from the weights' files."""
    from safetensors import safe_open

    for path in list_weight_files(base_model):
        with explained(base_model), safe_open(path, framework="pt") as weights:
            for name in weights.keys():  # noqa: SIM118
                if name.endswith(TABLES):
                    found: NDArray[np.float32] = weights.get_tensor(name).float().numpy()
                    return found
    raise ConfigError(
        f"--objective semantic needs the input embeddings of {base_model} in safetensors, and they "
        "are not there: give another --objective"
    )
