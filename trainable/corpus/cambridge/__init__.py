"""The embedded corpus: an invented city, in exactly the file format of MultiWOZ 2.2."""

from trainable.corpus.cambridge.writer import write_corpus

__all__ = ["write_corpus"]
