"""Which machines are at fault: a trial that met a machine's fault tries another, and a machine is
left out after its second. Forgotten with the driver: by the next it may be mended."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from typing import Any

from trainable.trial import TrialConfig
from trainable.worker.lease import NodeFault

MOST_FAULTS = 2
Needs = tuple[Any, ...]
EVERY: Needs = ()  # a fault that concerns every trial


class Nodes:
    """`present`: the ids of those that have room for trials; whoever knows the cluster keeps it
    current."""

    def __init__(self) -> None:
        self.present: Collection[str] = ()
        self._faults: dict[tuple[str, Needs], list[NodeFault]] = defaultdict(list)
        self._met: dict[str, set[str]] = defaultdict(set)  # trial -> nodes that failed it

    def blame(self, trial: str, config: TrialConfig, fault: NodeFault) -> bool:
        """Whether the node is left out from now on."""
        faults = self._faults[fault.node, needs_of(config) if fault.is_lack else EVERY]
        faults.append(fault)
        self._met[trial].add(fault.node)
        return len(faults) == MOST_FAULTS

    def list_avoided(self, trial: str, config: TrialConfig) -> tuple[str, ...]:
        """Where the trial must not go: the nodes left out, and those that failed it while there is
        another."""
        out = self.list_left_out(config)
        tried = out | self._met.get(trial, set())
        return tuple(sorted(tried if self._has_other(tried) else out))

    def list_left_out(self, config: TrialConfig | None) -> set[str]:
        """For this trial; None: for every one, whatever it needs."""
        return set(self._list_last(config))

    def list_useless(self, configs: Iterable[TrialConfig]) -> set[str]:
        """Those that are left out for every one of these trials."""
        if not self._faults:
            return set()
        each = [self.list_left_out(c) for c in {needs_of(c): c for c in configs}.values()]
        return set.intersection(*each) if each else set()

    def is_none_left(self, config: TrialConfig | None) -> bool:
        return bool(out := self.list_left_out(config)) and not self._has_other(out)

    def describe(self, config: TrialConfig) -> str:
        """Why there is none, node by node."""
        last = self._list_last(config).values()
        return "; ".join(f"{fault.name}: {fault.reason}" for fault in last)

    def _list_last(self, config: TrialConfig | None) -> dict[str, NodeFault]:
        needs = (EVERY,) if config is None else (EVERY, needs_of(config))
        known = ((node, faults) for (node, what), faults in self._faults.items() if what in needs)
        return {node: faults[-1] for node, faults in known if len(faults) >= MOST_FAULTS}

    def _has_other(self, nodes: Collection[str]) -> bool:
        known = set(self.present) or {node for node, _ in self._faults}
        return bool(known - set(nodes))


def needs_of(config: TrialConfig) -> Needs:
    """What a trial reads on its machine."""
    return (config.base_model, config.corpus, config.adapter)
