"""One trial outside a sweep: spelt from a profile and settings, and put into an engine here."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from trainable.command.flags import add_set, add_trust
from trainable.trial import TrialConfig
from tune.plan.flags import parse_settings
from tune.search.profiles import BASES

if TYPE_CHECKING:
    from trainable.engine.pack import Pack


def add_trial_flags(parser: argparse.ArgumentParser) -> None:
    """Adds what spells one trial: --profile, --set, --device and --trust-remote-code."""
    parser.add_argument(
        "--profile",
        choices=("auto", *BASES),
        default="auto",
        help="defaults of the fields that --set does not name; auto: lab where there is a GPU, "
        "else tiny",
    )
    add_set(parser)
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda")
    add_trust(parser)


def spell_trial(profile: str, settings: Sequence[str]) -> TrialConfig:
    """The profile's trial under those settings, as long as anybody wants. Raises ConfigError."""
    from search_spaces.space import Space
    from trainable.storage.adapter import inherit
    from tune.plan.checks import check_materials
    from tune.search.profiles import compose, pick_profile

    space = Space(name="single", question="", searched={}).fix(parse_settings(settings))
    names = {"name": "single", "space": "single"}
    brought = inherit(space.fixed.get("adapter"))
    config = space.to_config({}, compose(pick_profile(profile)[0], names, brought).base)
    check_materials([config])
    return replace(config, train_turns=10**9)


def open_pack(config: TrialConfig, slots: int, device: str) -> Pack:
    """So many of the trial, with a seed each."""
    from trainable.engine.pack import Pack
    from trainable.model.base import BaseSpec, load_base
    from trainable.storage.adapter import rank_of

    pack = Pack(load_base(BaseSpec.of(config, device=device)), slots, rank_of(config))
    for number in range(slots):
        pack.join(str(number), replace(config, seed=number), None)
    return pack
