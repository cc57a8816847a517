"""The instances of one run, by slot: fresh ones, or such as have served earlier runs where the run can do with them."""

import threading
from dataclasses import dataclass
from types import TracebackType

from fungible.check.instances.pool import Kit, Pool
from fungible.check.instances.reserve import Reserve
from fungible.check.instances.starter import Instance
from fungible.check.isolation.disks import Disk

_MOST_AHEAD = 3
"""How many instances are asked for before they are needed."""


@dataclass(frozen=True)
class Mode:
    """What a world's instances have in common, beyond what the target shares."""

    common_disk: bool = False
    common_randomness: bool = False
    late: frozenset[int] = frozenset()
    """Slots whose instance is started only when their first request comes."""
    one_instance: bool = False
    """Slots are workers of one instance, not instances."""


class World:
    """The instances of one run, by slot.

    Without a `reserve` all of them are fresh, and all of them end with it. With one, what is left of them is kept in it;
    and with `used`, they are taken from there first.
    """

    def __init__(
        self,
        pool: Pool,
        slots: int,
        mode: Mode = Mode(),
        *,
        kills: int = 0,
        reserve: Reserve | None = None,
        used: bool = False,
    ) -> None:
        self._pool = pool
        self._reserve = reserve
        self._from_reserve = used
        self._lent: list[Instance] = []
        self._mode = mode
        self._slots = 1 if mode.one_instance else slots
        self._kills = kills
        self._instances: dict[int, Instance] = {}
        self._used: list[Instance] = []
        self._kit: Kit | None = None
        self._disk: Disk | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> "World":
        lot = None
        if self._reserve is not None and self._from_reserve:
            lot = self._reserve.lend(self._slots + self._kills)
        self._kit, self._lent = lot or (self._pool.open_world(), [])
        try:
            self._fill(self._kit)
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()

    def _fill(self, kit: Kit) -> None:
        at_once = [slot for slot in range(self._slots) if slot not in self._mode.late]
        if self._mode.common_disk:
            self._disk = self._pool.fresh_disk(kit)
            for slot in at_once:
                self._put(
                    slot,
                    self._pool.start_on(
                        self._disk, first=not self._used, common_randomness=self._mode.common_randomness
                    ),
                )
        elif self._mode.common_randomness:
            for slot, instance in zip(
                at_once, self._pool.start_all(kit, len(at_once), common_randomness=True), strict=True
            ):
                self._put(slot, instance)
        else:
            for slot in at_once:
                self._put(slot, self._next(kit, len(at_once) - slot - 1 + self._kills))

    def _next(self, kit: Kit, more: int) -> Instance:
        """A used instance where there is one, else a fresh one; `more` says how many will be needed after it."""
        if self._lent:
            lent = self._lent.pop(0)
            if len(self._lent) < more:
                self._pool.expect(kit, min(_MOST_AHEAD, more - len(self._lent)))
            return lent
        return self._pool.take(kit, more=min(_MOST_AHEAD, more))

    def _put(self, slot: int, instance: Instance) -> None:
        self._instances[slot] = instance
        self._used.append(instance)

    def instance(self, slot: int) -> Instance:
        """The instance of a slot; a fresh one where there is none (any more)."""
        self._pool.check_open()
        slot = 0 if self._mode.one_instance else slot
        with self._lock:
            if slot not in self._instances:
                assert self._kit is not None
                if self._disk is not None:
                    self._put(
                        slot,
                        self._pool.start_on(
                            self._disk, first=not self._used, common_randomness=self._mode.common_randomness
                        ),
                    )
                elif slot in self._mode.late or self._mode.common_randomness:
                    disk = self._pool.fresh_disk(self._kit)
                    alike = self._mode.common_randomness
                    self._put(slot, self._pool.start_on(disk, first=True, common_randomness=alike))
                else:
                    self._put(slot, self._next(self._kit, self._kills))
            return self._instances[slot]

    def worker(self, slot: int) -> int:
        """Which of an instance's workers answers what is sent to a slot: the same one each time."""
        return slot if self._mode.one_instance else 0

    @property
    def instances(self) -> dict[int, Instance]:
        """The instances as they stand, by slot."""
        return self._instances

    def crash(self, slot: int) -> None:
        """kill -9, and the disk is gone; the slot gets another instance when it is next used."""
        self._kills -= 1
        instance = self._instances.pop(0 if self._mode.one_instance else slot)
        instance.kill()
        self.spend(instance)

    def spend(self, instance: Instance) -> None:
        """An instance that is being ended serves no later run."""
        if self._disk is None:
            self._used.remove(instance)
            self._pool.dispose(instance)

    def close(self) -> None:
        """Keeps the instances for later runs, where they have nothing in common but what the target shares; else ends them."""
        if self._kit is None:
            return
        if self._reserve is not None and not self._mode.common_disk and not self._mode.common_randomness:
            self._reserve.keep(self._kit, [*self._lent, *self._used])
            return
        for instance in (*self._lent, *self._used):
            self._pool.dispose(instance)
        self._pool.close_world(self._kit)
