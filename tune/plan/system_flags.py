"""Flags that name a system (an adapter or a model) and the dialogues that it replies to."""

import argparse

from trainable.command.flags import add_set


def add_system(group: argparse._ActionsContainer) -> None:
    """Adds --adapter and --model, one of which is to be given."""
    group.add_argument(
        "--adapter",
        metavar="FOLDER|ID",
        help="an exported trial, or any LoRA adapter in peft's format",
    )
    group.add_argument("--model", metavar="FOLDER|ID", help="a model without an adapter")


def add_corpus(
    group: argparse._ActionsContainer,
    default: str = "the one the adapter was trained on, else multiwoz",
) -> None:
    """Adds --corpus and --split."""
    group.add_argument(
        "--corpus",
        help="multiwoz (downloaded), cambridge (embedded), a folder or a dataset id "
        f"(default: {default})",
    )
    group.add_argument(
        "--split",
        default="test",
        choices=("train", "validation", "test"),
        help="the dialogues to use",
    )


def add_generation(
    group: argparse._ActionsContainer, fields: str = "decoding, quantisation, context"
) -> None:
    """`fields`: which ones are set, in the help of --set."""
    group.add_argument(
        "--base-model", metavar="FOLDER|ID", help="use this base model instead of the adapter's"
    )
    group.add_argument(
        "--dialogues",
        type=int,
        metavar="N",
        help="take N dialogues, always the same (default: all)",
    )
    add_set(group, f"set a field to another value than the trial's ({fields})")
    group.add_argument("--device", default="auto", help="auto, cpu or cuda")
