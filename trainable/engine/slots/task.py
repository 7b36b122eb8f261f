"""What trials that read the same text share: the corpus, encoded once for training and scoring."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from threading import Lock
from typing import Any

from transformers import PreTrainedTokenizerBase

from trainable.corpus.corpus import Corpus
from trainable.corpus.encode import TEXT_FIELDS, Window, encode, find_special
from trainable.corpus.load import load_corpus
from trainable.corpus.losses import Brackets, Losses, Scored, measure_losses
from trainable.corpus.prompt import cut_plan
from trainable.corpus.subset import validation_subset
from trainable.dialogue.dialogue import Dialogue
from trainable.engine.slots.data_order import DataOrder
from trainable.model.base import Base, count_rows
from trainable.model.positions import check_replies, check_window
from trainable.model.special_ids import check_ids, decode_reply
from trainable.trial import TrialConfig


class Task:
    """The windows of one way of writing a corpus, for one tokenizer."""

    def __init__(self, config: TrialConfig, corpus: Corpus, base: Base) -> None:
        self.config = config
        self.corpus = corpus
        self.tokenizer: PreTrainedTokenizerBase = base.tokenizer
        self.special = find_special(config, base.tokenizer, base.special.prefix, base.special.eos)
        self.spoken = base.special.spoken
        self.positions, self.rows = base.positions, count_rows(base.model)
        check_window(config, base.positions)
        self._train: list[Window] = []
        self._held_out: dict[tuple[str, int | None], list[Window]] = {}
        self._lock = Lock()

    @property
    def train(self) -> list[Window]:
        with self._lock:
            self._train = self._train or self._encode(self.corpus.get_split("train"), self.config)
        return self._train

    def order(self, config: TrialConfig) -> DataOrder:
        """The training windows as such a trial walks over them."""
        assert config.batch_turns is not None
        return DataOrder(self.train_part(config.train_share), config.batch_turns, config.seed)

    def train_part(self, share: float | None) -> list[Window]:
        """Of that share of the dialogues (None: all): the first of one fixed order, whatever the
        seed, so that a larger share contains a smaller one."""
        if share is None or share == 1:
            return self.train
        dialogues = self.corpus.get_split("train")
        kept = validation_subset(dialogues, max(1, round(share * len(dialogues))))
        names = {dialogue.id for dialogue in kept}
        return [window for window in self.train if window.dialogue_id in names]

    def held_out(self, split: str, n_dialogues: int | None) -> list[Window]:
        """The windows of the first dialogues of the split's fixed nested order: a dialogue is one
        sequence where it fits, so that its turns share their prefix. Raises ConfigError where a
        reply may go beyond the base model's table of positions."""
        key = split, n_dialogues
        if key not in self._held_out:
            windows = self.encode_whole(self.dialogues(split, n_dialogues))
            check_replies(self.config, [w.prompts[-1] for w in windows], self.positions)
            self._held_out[key] = windows
        return self._held_out[key]

    def dialogues(self, split: str, n_dialogues: int | None) -> tuple[Dialogue, ...]:
        """The first dialogues of the split's fixed nested order."""
        return validation_subset(self.corpus.get_split(split), n_dialogues)

    def encode_whole(self, dialogues: Sequence[Dialogue]) -> list[Window]:
        """Windows of as many turns as fit, whatever the format trained on."""
        return self._encode(tuple(dialogues), replace(self.config, format="dialogues"))

    def encode_last(self, dialogue: Dialogue) -> Window:
        """The last turn, behind as many of the earlier ones as fit."""
        (window,) = self._encode((dialogue,), self.config, is_last_alone=True)
        return window

    def measure_losses(self, scored: Iterable[Scored]) -> Losses:
        """Of windows with each target's loss."""
        is_plain = self.config.response == "lexicalised"
        return measure_losses(scored, None if is_plain else self._brackets)

    @cached_property
    def _brackets(self) -> Brackets:
        pieces = self.tokenizer.convert_ids_to_tokens(list(range(len(self.tokenizer))))
        return Brackets.of([str(piece) for piece in pieces])

    def decode(self, ids: list[int]) -> str:
        return decode_reply(self.tokenizer, ids, self.spoken)

    def read_reply(self, ids: list[int]) -> str:
        """The text of a reply, without its plan."""
        return cut_plan(self.decode(ids), self.config)

    def _encode(
        self, dialogues: tuple[Dialogue, ...], config: TrialConfig, *, is_last_alone: bool = False
    ) -> list[Window]:
        how = config, self.corpus.database, self.tokenise, self.special
        windows = encode(dialogues, *how, is_last_alone=is_last_alone)
        check_ids((int(window.ids.max()) for window in windows), self.rows, self.tokenizer)
        return windows

    def tokenise(self, texts: list[str]) -> list[list[int]]:
        backend = getattr(self.tokenizer, "backend_tokenizer", None)
        if backend is None:
            return list(self.tokenizer(texts, add_special_tokens=False)["input_ids"])
        # without offsets and masks, whose making would hold up all threads of the process
        return [e.ids for e in backend.encode_batch_fast(texts, add_special_tokens=False)]


class Tasks:
    """Every task met so far, encoded once an engine. Any thread may ask."""

    def __init__(self, base: Base) -> None:
        self._base = base
        self._tasks: dict[tuple[object, ...], Task] = {}
        self._corpora: dict[str, Corpus] = {}
        self._lock = Lock()

    def prepare(self, config: TrialConfig) -> None:
        """Encodes what the trial will train on: seconds, the first time. Raises ConfigError when
        the corpus is not there or does not fit the context window, nor replies a table of
        positions."""
        task = self.of(config)
        if config.method != "none":
            _ = task.train
        if task.positions is not None:
            task.held_out("validation", None)
            if config.earlier_replies == "own":  # how long those are is not known
                check_replies(config, [config.max_length_tokens], task.positions)

    def of(self, config: TrialConfig) -> Task:
        """Raises ConfigError when the corpus is not there."""
        key = tuple(getattr(config, name) for name in TEXT_FIELDS)
        if key not in self._tasks:
            with self._lock:
                if key not in self._tasks:
                    self._tasks[key] = Task(config, self._corpus(config.corpus), self._base)
        return self._tasks[key]

    def _corpus(self, name: str) -> Corpus:
        if name not in self._corpora:
            self._corpora[name] = load_corpus(name)
        return self._corpora[name]


def group_by_dialogue(
    texts: Mapping[tuple[str, int], str], states: Mapping[tuple[str, int], Any] | None = None
) -> dict[str, list[dict[str, Any]]]:
    """(dialogue id, system turn) -> text, and the state found for it where there is one, as
    mwzeval's responses: a list of turns a dialogue."""
    grouped: dict[str, list[dict[str, Any]]] = {}
    for key, text in sorted(texts.items()):
        reply: dict[str, Any] = {"response": text}
        if states:
            reply["state"] = states[key]
        grouped.setdefault(key[0], []).append(reply)
    return grouped
