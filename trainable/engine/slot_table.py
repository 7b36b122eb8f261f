"""Which trial's slot stands in which row of the bank."""

from collections.abc import Callable, Sequence

from torch import Tensor

from trainable.engine.layers.adapters import Adapters
from trainable.engine.slots.bank import SlotBank
from trainable.engine.slots.optimizer import SlotOptimizer
from trainable.engine.slots.peft_format import load_adapter
from trainable.engine.slots.rows import AdapterShape, SlotRange
from trainable.engine.slots.slot import Slot, SlotState, copy_rows, put_state, restore_slot
from trainable.model.principal import split_weight


class SlotTable:
    def __init__(self, bank: SlotBank, adapters: Adapters) -> None:
        """`adapters`: what reads the bank's rows; told whenever a row is another trial's."""
        self.bank, self.adapters = bank, adapters
        self.optimizer = SlotOptimizer(bank)
        self.slots: dict[str, Slot] = {}
        self.rows: list[str | None] = [None] * bank.slots  # bank row -> key
        self.components: dict[str, tuple[Tensor, Tensor]] = {}  # of modules: see `split_weight`

    def place(self, slot: Slot, state: SlotState | None = None) -> None:
        """Fills a free row with the slot's adapter: new, brought along, or from a checkpoint."""
        row = self.rows.index(None)
        self.bank.initialise(row, slot.shape, slot.config.seed)
        if state is not None:
            restore_slot(slot, self.bank, row, state)
        elif slot.config.adapter is not None:
            load_adapter(slot.config, slot.shape, slot.base, self.bank, row)
        else:
            self._read_weights(slot.shape, row)
        for name in slot.shape.modules if slot.shape.is_dora else ():
            _ = self.adapters.layers[name].squares  # kept from now on: no recording may make them
        self.slots[slot.key], self.rows[row] = slot, slot.key
        self.adapters.invalidate()

    def _read_weights(self, shape: AdapterShape, row: int) -> None:
        """What a fresh adapter has of the base model's weights: PiSSA's components, DoRA's
        magnitudes."""
        own, params = SlotRange(row, row + 1), self.bank.params
        for name in shape.modules if shape.is_pissa or shape.is_dora else ():
            layer = self.adapters.layers[name]
            if shape.is_pissa:
                a, b = self._split(name, shape.ranks[name])
                root = shape.scales[name] ** -0.5
                self.bank.begin_with(row, shape, name, root * a, root * b)
            if shape.is_dora:
                self.bank.layout.magnitudes(params, name, own)[:] = layer.squares.sqrt()
        self.bank.average[row] = params[row]

    def _split(self, name: str, rank: int) -> tuple[Tensor, Tensor]:
        """The layer's principal components, A [in, rank] and B [rank, out]. Kept for the next
        PiSSA of that rank: all layers' take seconds."""
        if name not in self.components or self.components[name][0].shape[1] != rank:
            self.components[name] = split_weight(self.adapters.layers[name].base, rank, 1.0)
        return self.components[name]

    def leave(self, key: str) -> None:
        if self.slots.pop(key, None) is None:
            return
        row = self.rows.index(key)
        self.rows[row] = None
        self.bank.clear(row)
        self.optimizer.is_broken[row] = False
        self.adapters.invalidate()

    def shrink(self, slots: int) -> None:
        """That many slots from now on, all of them empty."""
        for key in list(self.slots):
            self.leave(key)
        self.bank.shrink(slots)
        self.optimizer = SlotOptimizer(self.bank)
        self.rows = [None] * slots

    def aim(self, key: str, turns: int) -> None:
        """Sets a slot's next goal. Where the rate has decayed towards the last one (wsd), the
        slot goes on from where that decay began: a milestone is a branch off one stable run."""
        slot = self.slots[key]
        slot.goal_turns = turns
        if slot.stable_run is not None and slot.turns_seen < turns:
            put_state(slot, self.bank, self.rows.index(key), slot.stable_run)

    def copy_state(self, key: str) -> SlotState:
        return self.copy_rows(key)()

    def copy_rows(self, key: str) -> Callable[[], SlotState]:
        return copy_rows(self.slots[key], self.bank, self.rows.index(key))

    def gather(self, slots: Sequence[Slot]) -> list[Slot]:
        """Moves the slots' rows to the front of the bank; the slots in the order of their rows."""
        wanted = {slot.key for slot in slots}
        waiting = [row for row, key in enumerate(self.rows) if key in wanted and row >= len(slots)]
        for row in range(len(slots)):
            if self.rows[row] not in wanted:
                self._swap(row, waiting.pop())
        return [self.slots[str(key)] for key in self.rows[: len(slots)]]

    def _swap(self, one: int, other: int) -> None:
        self.bank.swap(one, other)
        self.optimizer.swap(one, other)
        self.rows[one], self.rows[other] = self.rows[other], self.rows[one]
        self.adapters.invalidate()

    def longest(self) -> int:
        return max(slot.config.max_length_tokens for slot in self.slots.values())
