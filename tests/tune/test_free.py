"""Whole dialogues of the model's own."""

import pytest

from tune import free


def test_dialogues_are_written_and_scored(capsys: pytest.CaptureFixture) -> None:
    flags = ["--profile", "tiny", "--device", "cpu", "--dialogues", "2", "--turns", "2"]
    assert free.main([*flags, "--set", "method=none"]) == 0
    first = capsys.readouterr().out
    assert first.count("user> ") == 4 and "bot>" in first and "| perplexity |" in first
    assert free.main([*flags, "--set", "method=none"]) == 0
    assert capsys.readouterr().out == first  # a function of the seed
    assert free.main([*flags, "--turns", "0"]) == 2
