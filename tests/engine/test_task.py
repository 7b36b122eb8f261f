"""The text that trials share: encoded once, whoever asks first."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tiny_trials import make_config, make_spec

from trainable.engine.slots.task import Tasks
from trainable.model.base import load_base


def test_threads_share_one_encoding(bases: dict[str, Path]) -> None:
    tasks, config = Tasks(load_base(make_spec(bases["llama"]))), make_config(bases["llama"])
    with ThreadPoolExecutor(4) as threads:
        list(threads.map(tasks.prepare, [config] * 4))
        found = list(threads.map(lambda _: tasks.of(config).train, range(4)))
    assert found[0] and all(windows is found[0] for windows in found)


def test_text_is_tokenised_as_by_the_tokenizer_itself(bases: dict[str, Path]) -> None:
    base, config = load_base(make_spec(bases["llama"])), make_config(bases["llama"])
    task = Tasks(base).of(config)
    texts = ["user> a cheap hotel in the north\nbot>", " [name] , é — 12:30 .", "", " "]
    plain = base.tokenizer(texts, add_special_tokens=False)["input_ids"]
    assert task.tokenise(texts) == list(plain)
