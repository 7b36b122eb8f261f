"""Pretrains and writes the embedded base model: `python -m trainable.model.tiny`.

A Llama of 1.2 million parameters and its byte-pair tokenizer, from the generator's text of other
domains (`trainable.corpus.cambridge.elsewhere`). The weights ship in the package; this file is how
they were made, and `provenance.json` beside them holds the command, the seed and the checksums.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trainable.system.whole import write_json
from trainable.trial import ConfigError

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

from trainable.model.source import EMBEDDED_FOLDER

PAD, BOS, EOS = "<pad>", "<bos>", "<eos>"
VOCABULARY = 1280
CONTEXT_TOKENS = 1024
SHAPE: dict[str, Any] = {  # all sizes are multiples of 64, as bitsandbytes' CPU kernels need
    "hidden_size": 128,
    "intermediate_size": 512,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
}
TEXTS = 10_000
STEPS = 400
BATCH_SEQUENCES, SEQUENCE_TOKENS = 12, 256
LEARNING_RATE, WARMUP_STEPS = 3e-3, 50


def train_tokenizer(texts: list[str]) -> PreTrainedTokenizerBase:
    """Byte-level BPE without a space in front; a text is opened by <bos>, digits stay single."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[PAD, BOS, EOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator((text.replace(EOS, "") for text in texts), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", special_tokens=[(BOS, tokenizer.token_to_id(BOS))]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token=PAD,
        bos_token=BOS,
        eos_token=EOS,
        model_max_length=CONTEXT_TOKENS,
        padding_side="left",
    )


def build_model(tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=VOCABULARY,
        max_position_embeddings=CONTEXT_TOKENS,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        **SHAPE,
    )
    return LlamaForCausalLM(config)


def pretrain(model: PreTrainedModel, stream: torch.Tensor, steps: int, seed: int) -> float:
    """AdamW with a linear decay on random windows of the stream [tokens]; returns the loss of the
    last tenth of the steps, in nats a token."""
    import torch

    generator = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=LEARNING_RATE, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / WARMUP_STEPS, 1 - step / steps)
    )
    losses = []
    model.train()
    for step in range(steps):
        starts = torch.randint(
            len(stream) - SEQUENCE_TOKENS, (BATCH_SEQUENCES, 1), generator=generator
        )
        batch = stream[starts + torch.arange(SEQUENCE_TOKENS)]  # [sequences, tokens]
        loss = model(input_ids=batch, labels=batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
        losses.append(loss.item())
        if step % 50 == 0:
            print(f"step {step:4d}  loss {loss.item():.3f} nats", file=sys.stderr, flush=True)
    last = losses[-max(1, steps // 10) :]
    return sum(last) / len(last)


def make(folder: Path, steps: int, seed: int) -> dict[str, Any]:
    """Writes the model, the tokenizer and provenance.json into the folder; returns the latter."""
    import torch
    from transformers import set_seed

    from trainable.corpus.cambridge.elsewhere import write_texts

    started_s = time.process_time()
    set_seed(seed)
    texts = write_texts(seed, TEXTS)
    tokenizer = train_tokenizer(texts)
    stream = torch.tensor([token for ids in tokenizer(texts)["input_ids"] for token in ids])
    model = build_model(tokenizer)
    loss_nats = pretrain(model, stream, steps, seed)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as beside:
        model.bfloat16().save_pretrained(beside)
        tokenizer.save_pretrained(beside)
        for path in sorted(Path(beside).iterdir()):
            path.chmod(0o644)
            path.replace(folder / path.name)
    provenance = {
        "command": f"python -m trainable.model.tiny --steps {steps} --seed {seed}",
        "seed": seed,
        "texts": len(texts),
        "tokens": len(stream),
        "params": sum(parameter.numel() for parameter in model.parameters()),
        "loss_nats": round(loss_nats, 4),
        "cpu_seconds": round(time.process_time() - started_s),
        "torch": torch.__version__,
        "sha256": checksums(folder),
    }
    write_json(folder / "provenance.json", provenance)
    return provenance


def checksums(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of the model and the tokenizer."""
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.iterdir())
        if path.name != "provenance.json"
    }


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m trainable.model.tiny", description=__doc__, allow_abbrev=False
    )
    parser.add_argument("--out", type=Path, default=EMBEDDED_FOLDER, help="folder to write")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"training steps ({STEPS})")
    parser.add_argument("--seed", type=int, default=0, help="of texts, weights and order (0)")
    options = parser.parse_args(arguments)
    try:
        if options.steps < 1:
            raise ConfigError(f"--steps must be at least 1, not {options.steps}")
        import torch

        torch.set_num_threads(1)  # sums in another order would be other weights
        print(json.dumps(make(options.out, options.steps, options.seed), indent=1))
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
