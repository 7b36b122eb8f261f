"""What the engine computes of the same: every way in which it attends, trains and decodes."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from trainable.corpus.encode import Window
from trainable.engine.check.reference import Findings
from trainable.engine.check.samples import CONFIG, Adapter, Samples
from trainable.engine.decode.branches import Branches
from trainable.engine.decode.chunks import Decodable, decode_chunks
from trainable.engine.decode.rows import Batch, list_rows
from trainable.engine.layers.blocks import Blocks
from trainable.engine.layers.layout import Layout
from trainable.engine.layers.passes import pack_windows
from trainable.engine.slots.bank import SlotBank
from trainable.engine.slots.rows import SlotRange
from trainable.engine.train.train_pass import Load

FIRST = SlotRange(0, 1)


class Checked(Decodable, Protocol):
    """What a check needs of a pack."""

    bank: SlotBank
    pads_to_bucket: bool

    def add_gradients(self, load: Load) -> Tensor:
        """As `Pack.add_gradients`: the losses [targets], in nats."""


def find(pack: Checked, samples: Samples, adapter: Adapter, firsts: Sequence[int]) -> Findings:
    """With the adapter in the bank's first row, which is cleared afterwards. `firsts`: the token
    behind each prompt in a step of rows."""
    put_adapter(pack.bank, adapter)
    try:
        gradients = differentiate(pack, samples, adapter)
        with torch.no_grad():
            alone = score(pack, [samples.short])
            together = score(pack, [samples.short, samples.long])
            short = len(samples.short.targets)
            nats = {"short": alone, "short beside long": together[:short], "long": together[short:]}
            steps = {name: step(pack, samples, firsts, name) for name in ("row", "branch")}
        prompts, end = list(samples.prompts), pack.base.special.eos
        (share,) = decode_chunks(pack, [prompts], [CONFIG], [0], [end])
        replies = [share.replies[w.dialogue_id, w.turns[0]] for w in samples.prompts]
    finally:
        pack.bank.clear(0)
        pack.adapters.invalidate()
    return Findings(nats, steps, replies, gradients)


def put_adapter(bank: SlotBank, adapter: Adapter) -> None:
    """Into the bank's first row, as its last and its averaged weights."""
    bank.clear(0)
    with torch.no_grad():
        for name, (a, b) in adapter.layers.items():
            own_a, own_b = bank.layout.pair(bank.params, name, 0)
            own_a[:, : a.shape[1]], own_b[: b.shape[0]] = a, b
    bank.average[0] = bank.params[0]
    bank.scales[0] = adapter.scale
    bank.modules[0] = frozenset(adapter.layers)


def score(pack: Checked, windows: list[Window]) -> Tensor:
    """[targets]: each one's loss in nats, of a prefill."""
    tokens = pack_windows([windows], pack.device)
    pack.adapters.begin_inference(FIRST, tokens.layout, pack.base.compute_dtype)  # type: ignore[arg-type]
    hidden = pack.forward(tokens.ids, tokens.positions, tokens.packing)[0]
    logits = pack.output().scores(hidden[tokens.before_targets])
    return torch.nn.functional.cross_entropy(logits, tokens.labels, reduction="none")


def differentiate(
    pack: Checked, samples: Samples, adapter: Adapter
) -> dict[str, tuple[Tensor, Tensor]]:
    """Layer -> the gradients of A [in, rank] and B [rank, out], of a training pass beside the long
    dialogue, from which nothing is learnt."""
    tokens = pack_windows(
        [[samples.short, samples.long]], pack.device, pads_to_bucket=pack.pads_to_bucket
    )
    weights = torch.zeros(len(tokens.labels), device=pack.device)
    weights[: len(samples.short.targets)] = 1.0
    span = FIRST
    if isinstance(tokens.layout, Blocks):
        span = SlotRange(0, pack.bank.slots)
        object.__setattr__(tokens, "layout", tokens.layout.place(0, pack.bank.slots))
    pack.add_gradients(Load(span, tokens, weights, None, tuple(pack.bank.used_modules(FIRST))))
    found = {}
    for name, (a, _) in adapter.layers.items():
        grad_a, grad_b = pack.bank.layout.pair(pack.bank.grads, name, 0)
        found[name] = grad_a[:, : a.shape[1]].clone(), grad_b[: a.shape[1]].clone()
    return found


def step(pack: Checked, samples: Samples, firsts: Sequence[int], kind: str) -> Tensor:
    """[prompts, vocabulary]: log probabilities behind each prompt and a token, by the caches of a
    row or of branches (of which the second is looked at)."""
    tokens = pack_windows([list(samples.prompts)], pack.device)
    pack.adapters.begin_inference(FIRST, tokens.layout, pack.base.compute_dtype)  # type: ignore[arg-type]
    kept: list[tuple[Tensor, Tensor]] = []
    tokens.packing.kept = kept
    hidden = pack.forward(tokens.ids, tokens.positions, tokens.packing)[0]
    rows = list_rows([list(samples.prompts)], [0])
    is_branching = kind == "branch"
    batch = Batch.start(rows, tokens, hidden, kept, max_new=4, is_branching=is_branching)
    first = torch.tensor(firsts, device=pack.device)[:, None]
    if not is_branching:
        pack.adapters.relayout(Layout.of([len(rows)], pack.device))
        return _predict(pack, pack.forward(first, batch.positions(), batch.cached())[:, 0])
    other = torch.tensor(samples.alternatives, device=pack.device)[:, None]
    pack.adapters.relayout(Layout.of([2 * len(rows)], pack.device))
    n_prompt = int(batch.lengths.max())
    is_prompt = torch.arange(n_prompt, device=pack.device) < batch.lengths[:, None]
    own = torch.eye(2, dtype=torch.bool, device=pack.device).expand(len(rows), -1, -1)
    visible = torch.cat([is_prompt[:, None].expand(-1, 2, -1), own], dim=-1)
    branches = Branches(batch.cache.keys, batch.cache.values, visible, n_prompt)
    positions = batch.positions().expand(-1, 2)
    out = pack.forward(torch.cat([first, other], dim=1), positions, branches)
    return _predict(pack, out[:, 1])


def _predict(pack: Checked, hidden: Tensor) -> Tensor:
    """Hidden states [rows, width] -> log probabilities [rows, vocabulary]."""
    return pack.output().scores(hidden).log_softmax(-1)
