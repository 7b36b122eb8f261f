"""How alike replies and references are in meaning: by the base model's own input embeddings, or by
a sentence-transformers model."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from trainable.evaluation.likeness import Alike, pairwise
from trainable.model.base import BaseSpec, load_tokenizer
from trainable.model.source import explained, list_weight_files
from trainable.system.hub import settle_network
from trainable.trial import ConfigError

# what architectures call their input embeddings
TABLES = ("embed_tokens.weight", "wte.weight", "word_embeddings.weight", "embed_in.weight")


@lru_cache(maxsize=2)
def open_likeness(base_model: str) -> Alike:
    """The cosine in 0..1 (below 0 counts as 0) of the means of two texts' token embeddings, from
    each of which the vocabulary's mean is taken: what all tokens share says nothing (Mu and
    Viswanath 2018, arXiv 1702.01417). Raises ConfigError without safetensors."""
    table = read_embeddings(base_model)
    spec = BaseSpec(base_model=base_model, quantisation="fp32")
    tokenizer = load_tokenizer(spec)
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

    return pairwise(compare)


@lru_cache(maxsize=2)
def open_sentences(model: str) -> Alike:
    """The cosine in 0..1 (below 0 counts as 0) of two texts' embeddings by a sentence-transformers
    model, an id or a folder, on the CPU. Raises ConfigError where the package or the model is not
    there."""
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise ConfigError(
            f"--objective semantic:{model} needs the package sentence-transformers ({error}): pip "
            "install sentence-transformers, or give semantic, which asks the base model itself"
        ) from error
    if not model.startswith(("/", ".", "~")):
        settle_network()
    try:
        encoder = SentenceTransformer(model, device="cpu")
    except (OSError, ValueError, KeyError, TypeError, RuntimeError) as error:
        first_line = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ConfigError(
            f"--objective semantic:{model} needs a sentence-transformers model, and that cannot be "
            f"had ({first_line}): give another id or folder"
        ) from error

    def compare(replies: Sequence[str], references: Sequence[str]) -> list[float]:
        texts = list(dict.fromkeys((*replies, *references)))
        made = encoder.encode(texts, normalize_embeddings=True, show_progress_bar=False)
        place = dict(zip(texts, made, strict=True))
        pairs = zip(replies, references, strict=True)
        return [float(np.clip(place[one] @ place[other], 0.0, 1.0)) for one, other in pairs]

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
