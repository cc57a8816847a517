"""Instances that have served earlier runs, kept alive for later ones where they can hide nothing (see `marks`)."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass

from fungible.check.instances.pool import Kit, Pool
from fungible.check.instances.starter import Instance

_MOST = 4
"""How many instances are kept alive between runs: two for a run, one for the run beside it, and one to be killed."""


@dataclass
class _Lot:
    """Instances that stand on the same shared paths, and so can serve one run together."""

    kit: Kit
    instances: list[Instance]


class Reserve:
    """Used instances by the kit that they stand on. A kit is lent as a whole, so that two runs never share one."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._lots: list[_Lot] = []
        self._lock = threading.Lock()

    def lend(self, wanted: int) -> tuple[Kit, list[Instance]] | None:
        """The fewest instances of one kit that are enough, or else the most that there are; None where there is none."""
        with self._lock:
            for lot in self._lots:
                lot.instances = [instance for instance in lot.instances if instance.alive()]
            best = min(
                (lot for lot in self._lots if lot.instances),
                key=lambda lot: (max(0, wanted - len(lot.instances)), len(lot.instances)),
                default=None,
            )
            if best is None:
                return None
            self._lots.remove(best)
            return best.kit, best.instances

    def keep(self, kit: Kit, instances: Sequence[Instance]) -> None:
        """Takes the instances of a run that is over; what is too many is ended, the oldest single ones first."""
        with self._lock:
            mine = next((lot for lot in self._lots if lot.kit is kit), None)
            if mine is None:
                mine = _Lot(kit, [])
                self._lots.append(mine)
            for instance in instances:
                if instance.alive():
                    mine.instances.append(instance)
                else:
                    self._pool.dispose(instance)
            while sum(len(lot.instances) for lot in self._lots) > _MOST:
                self._shorten()
            for lot in [lot for lot in self._lots if not lot.instances]:
                self._drop(lot)

    def _shorten(self) -> None:
        least = min(self._lots, key=lambda lot: len(lot.instances))
        self._pool.dispose(least.instances.pop(0))
        if not least.instances:
            self._drop(least)

    def _drop(self, lot: _Lot) -> None:
        self._lots.remove(lot)
        self._pool.close_world(lot.kit)
