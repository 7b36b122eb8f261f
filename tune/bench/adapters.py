"""Which adapters of other tools are computed as plain peft does: python -m tune.bench.adapters

Makes an adapter of every kind on the embedded model, in fp32 on the CPU, none of whose weights are
zero, and evaluates it as `tune.evaluate --adapter` and `--set adapter=` do: by the engine, by peft
alone where a field or tensor keeps it out, or it is refused by the name of the field. Loss and
greedy replies are compared with plain peft's. Exit code 1 where a row is none of the three.
"""

import argparse
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from trainable.command.outcome import Outcome, make_main, start_command
from trainable.command.parser import Parser
from trainable.model.adapter_fields import check_adapter
from trainable.model.packable import why_alone
from trainable.result import ValidationRequest
from trainable.solo.choose import open_finetuner
from trainable.trial import ConfigError
from tune.bench.foreign import (
    DIALOGUES,
    REFUSED,
    WAYS,
    load_plain,
    make_adapter,
    measure_loss,
    reply,
    spell,
)
from tune.terminal.quiet import quieten

HEADER = ("adapter", "loss, here / peft", "replies", "computed by")
NEAR = 1e-5  # relative, of the loss
HEARD = 1e-3  # nats: an adapter that changes the loss by less shows nothing


@dataclass(frozen=True, kw_only=True)
class Row:
    losses: tuple[float, float]  # here, plain peft: nats a target token
    replies: tuple[int, int]  # equal, all
    reason: str | None  # what keeps it out of the engine

    @property
    def is_right(self) -> bool:
        here, wanted = self.losses
        is_heard = abs(wanted - base_loss()) > HEARD
        return (
            is_heard and abs(here - wanted) < NEAR * wanted and self.replies[0] == self.replies[1]
        )

    def cells(self) -> tuple[str, ...]:
        here, wanted = self.losses
        place = "the engine" if self.reason is None else f"peft alone ({self.reason})"
        return (
            f"{here:.5f} / {wanted:.5f}",
            f"{self.replies[0]}/{self.replies[1]}",
            place if self.is_right else f"WRONG: {place}",
        )


def judge_all(flags: argparse.Namespace) -> Outcome:
    """Prints the table, a row at a time."""
    quieten()
    print("| " + " | ".join(HEADER) + " |\n|" + " --- |" * len(HEADER))
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for name in (*WAYS, *REFUSED):
            cells = judge(name, Path(scratch) / name)
            rows.append(dict(zip(HEADER, (name, *cells), strict=True)))
            print("| " + " | ".join((name, *cells)) + " |", flush=True)
    is_wrong = any(row["computed by"].startswith("WRONG") for row in rows)
    return Outcome(facts={"rows": rows}, code=1 if is_wrong else 0)


def judge(name: str, folder: Path) -> tuple[str, ...]:
    """The row's cells behind the name."""
    if name in REFUSED:
        kind, settings = REFUSED[name]
        return ("–", "–", refuse(make_adapter(settings, folder, kind=kind)))
    return compare(make_adapter(WAYS[name][0], folder)).cells()


def refuse(folder: Path) -> str:
    try:
        check_adapter(spell(folder))
    except ConfigError as error:
        return f"refused: {str(error).partition(' in ')[0]}"
    return "WRONG: taken"


def compare(folder: Path) -> Row:
    from peft import PeftModel

    model = PeftModel.from_pretrained(load_plain(), folder).eval()
    wanted, loss = reply(model), measure_loss(model)
    reason = why_alone(spell(folder))
    finetuner: Any = open_finetuner(spell(folder), "cpu")
    made = finetuner.generate(ValidationRequest(DIALOGUES))
    finetuner.close()
    pairs = [
        (turn["response"], text)
        for dialogue, texts in wanted.items()
        for turn, text in zip(made.responses[dialogue], texts, strict=True)
    ]
    equal = sum(found == text for found, text in pairs)
    return Row(losses=(made.losses.loss_nats, loss), replies=(equal, len(pairs)), reason=reason)


@cache
def base_loss() -> float:
    return measure_loss(load_plain())


def build_parser() -> Parser:
    return Parser("tune.bench.adapters", __doc__, name="bench.adapters")


main = make_main(build_parser, judge_all)

if __name__ == "__main__":
    start_command(main)
