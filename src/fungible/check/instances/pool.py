"""Fresh instances, started when a run needs them: each start costs, so none is made that may not be used."""

import contextlib
import os
import shutil
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from fungible.check.errors import StartError
from fungible.check.instances.starter import Instance, Starter
from fungible.check.isolation.disks import Disk

_MAX_SHARED_BYTES = 512 * 1024 * 1024


@dataclass
class Kit:
    """What one world stands on: copies of the shared paths, and instances started for it ahead of time."""

    shared_at: dict[Path, Path]
    ready: deque[Instance] = field(default_factory=deque[Instance])
    coming: int = 0
    waiting: int = 0
    directory: Path | None = None
    closed: bool = False


class Pool:
    """Starts fresh instances, several at a time where it is known that several will be needed.

    Where the target shares paths, a world that is to be fresh gets its own copy of them, and instances of its own; else any
    fresh instance fits any world.
    """

    def __init__(self, starter: Starter, *, base: Path, shared: tuple[Path, ...], workers: int = 2) -> None:
        self._starter = starter
        self._base = base
        self._shared = tuple(path for path in shared if _copyable(path)) if starter.isolation.level >= 1 else ()
        self._condition = threading.Condition()
        self._executor = ThreadPoolExecutor(workers, thread_name_prefix="fungible-start")
        self._closer = ThreadPoolExecutor(2, thread_name_prefix="fungible-close")
        self._live: set[int] = set()
        self._disks: dict[int, Disk] = {}
        self._error: BaseException | None = None
        self._numbers = 0
        self._kits = 0
        self._closed = False
        self.on_start: Callable[[int], None] = lambda count: None
        self._common = Kit({})

    @property
    def starts(self) -> int:
        """How many instances were started, or begun, so far."""
        return self._numbers

    def open_world(self) -> Kit:
        """A kit to start instances for; with shared paths it has fresh copies of them, else it is common to all."""
        return self._new_kit() if self._shared else self._common

    def close_world(self, kit: Kit) -> None:
        """Ends what was started for a kit and not used, and removes its copies."""
        if kit is self._common or self._closed:
            return
        with self._condition:
            kit.closed = True
            left = list(kit.ready)
            kit.ready.clear()
        for instance in left:
            self.dispose(instance)
        if kit.directory is not None:
            self._closer.submit(shutil.rmtree, kit.directory, True)

    def take(self, kit: Kit, *, more: int = 0) -> Instance:
        """A fresh, ready instance for a kit; `more` says how many will be asked for next.

        Raises:
            StartError: it could not be started, or the pool is closed.
        """
        with self._condition:
            kit.waiting += 1
            try:
                self._ask(kit, max(0, kit.waiting + more - len(kit.ready) - kit.coming))
                while not kit.ready:
                    self._raise_error()
                    self.check_open()
                    # What was on its way may have gone to a run beside this one.
                    self._ask(kit, max(0, kit.waiting - len(kit.ready) - kit.coming))
                    self._condition.wait(0.2)
                return kit.ready.popleft()
            finally:
                kit.waiting -= 1

    def expect(self, kit: Kit, count: int) -> None:
        """Begins starts for a kit, as many as will surely be taken soon."""
        with self._condition:
            self._ask(kit, max(0, count - len(kit.ready) - kit.coming))

    def check_open(self) -> None:
        """Keeps a run from going on with instances that were ended.

        Raises:
            StartError: the pool is closed.
        """
        if self._closed:
            raise StartError("stopped")

    def fresh_disk(self, kit: Kit) -> Disk:
        """A disk on which the caller starts processes itself."""
        disk = self._starter.disk(kit.shared_at or None)
        with self._condition:
            self._disks[id(disk)] = disk
            closed = self._closed
        if closed:  # `close` may have looked before this one was there
            disk.close()
            raise StartError("stopped")
        return disk

    def start_on(self, disk: Disk, *, first: bool, common_randomness: bool = False) -> Instance:
        """One more process on a disk."""
        with self._condition:
            self._numbers += 1
            number = self._numbers
        self.on_start(number)
        return self._starter.start(disk, number, first=first, common_randomness=common_randomness)

    def start_all(self, kit: Kit, count: int, *, common_randomness: bool) -> list[Instance]:
        """Several fresh instances at once, outside the pool."""

        def one() -> Instance:
            disk = self.fresh_disk(kit)
            return self.start_on(disk, first=True, common_randomness=common_randomness)

        return [future.result() for future in [self._executor.submit(one) for _ in range(count)]]

    def dispose(self, instance: Instance) -> None:
        """Ends an instance, in the background."""
        if self._closed:
            instance.close()
            return

        def close() -> None:
            instance.close()
            with self._condition:
                self._disks.pop(id(instance.disk), None)

        self._closer.submit(close)

    def close(self) -> None:
        """Ends everything that this pool ever started. Idempotent."""
        self._closed = True
        self._starter.cancelled.set()
        self._executor.shutdown(wait=False, cancel_futures=True)
        # First what is being prepared or started: nobody waits for that any more.
        self._close_disks()
        self._executor.shutdown(wait=True)
        self._closer.shutdown(wait=True)
        self._close_disks()

    def _close_disks(self) -> None:
        with self._condition:
            disks = list(self._disks.values())
        for disk in disks:
            with contextlib.suppress(Exception):
                disk.close()

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error

    def _new_kit(self) -> Kit:
        with self._condition:
            self._kits += 1
            directory = self._base / f"shared-{self._kits}"
        directory.mkdir()
        copies: dict[Path, Path] = {}
        for number, path in enumerate(self._shared):
            copies[path] = directory / str(number)
            _copy(path, copies[path], self._copy_file)
        return Kit(copies, directory=directory)

    def _copy_file(self, source: str, target: str) -> None:
        self.check_open()
        shutil.copy2(source, target)

    def _ask(self, kit: Kit, count: int) -> None:
        """Begins `count` more starts for a kit; the caller holds the condition."""
        for _ in range(count):
            if self._closed or self._error is not None:
                return
            kit.coming += 1
            self._numbers += 1
            self._executor.submit(self._start, kit, self._numbers)

    def _start(self, kit: Kit, number: int) -> None:
        if kit.closed or self._closed:
            return
        try:
            self.on_start(number)
            disk = self.fresh_disk(kit)
            instance = self._starter.start(disk, number, wanted=lambda: not kit.closed)
        except BaseException as error:
            with self._condition:
                if not kit.closed:  # else it was under way when its world ended, and nobody waits for it
                    self._error = self._error or error
                kit.coming -= 1
                self._condition.notify_all()
            return
        with self._condition:
            kit.coming -= 1
            unwanted = kit.closed or self._closed
            if not unwanted:
                kit.ready.append(instance)
            self._condition.notify_all()
        if unwanted:
            instance.close()


def _copyable(path: Path) -> bool:
    """True for a tree of plain files of moderate size: sockets and databases that run are used where they are."""
    size = 0
    try:
        for folder, _, names in os.walk(path):
            for name in names:
                at = Path(folder, name)
                if at.is_symlink():
                    continue
                if not at.is_file():
                    return False
                size += at.stat().st_size
    except OSError:
        return False
    return size <= _MAX_SHARED_BYTES


def _copy(path: Path, to: Path, copy_file: Callable[[str, str], object]) -> None:
    if path.is_file():
        copy_file(str(path), str(to))
    elif path.is_dir():
        shutil.copytree(path, to, symlinks=True, copy_function=copy_file)
        with contextlib.suppress(OSError):
            shutil.copystat(path, to)
    else:
        to.mkdir()
