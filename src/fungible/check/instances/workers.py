"""The processes of one instance that answer requests, and how one of them is made to answer.

Which worker accepts a connection is the kernel's choice, or that of a process that hands connections on. It is seen in
/proc. So that it is not chance, the others are stopped for the moment in which a connection is accepted; where each has
a queue of its own, or is handed its connections, more connections are opened until the right one has accepted.
"""

import contextlib
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping

from fungible.check.http.client import Address, Connection, Request
from fungible.check.isolation.disk_sockets import VISIBLE, accepted_by, listeners
from fungible.check.isolation.launcher_processes import descendants, state

MOST = 32
"""More workers of one instance than these are not told apart."""
_ACCEPT_S = 2.0
"""How long a worker that was never met may take to accept a connection while the others are stopped."""
_BUSY_S = 0.5
"""How long a worker that is wanted may take: one that still works on another request comes to it later."""
_HANDED_S = 0.3
"""How long a process that has children may take to hand a connection on to one of them."""
_TRIES = 64


class Workers:
    """The processes of one instance that accept connections at its port; `place` 0 is the first one that answered.

    A worker that has ended, or was replaced, gives its place to whoever answers next.
    """

    def __init__(self, port: int, members: Callable[[], list[int]]) -> None:
        self.missed = 0
        """Requests of which it could not be said which worker answers."""
        self._port = port
        self._members = members
        self._places: dict[int, int] = {}
        self._stops: Counter[int] = Counter()
        self._lock = threading.Lock()

    @property
    def processes(self) -> Mapping[int, int]:
        """The process of each place that was met."""
        return self._places

    @contextlib.contextmanager
    def answering(self, connection: Connection, place: int) -> Generator[None]:
        """Opens a connection to the worker of a place; its answer is read within the block."""
        with contextlib.ExitStack() as stopped:
            with self._lock:
                self._open(connection, place, stopped)
            yield

    def count(self, address: Address) -> int:
        """How many processes answer, found by connecting until nobody new accepts."""
        with self._lock:
            for place in range(MOST):
                with contextlib.ExitStack() as stopped:
                    probe = Connection(address, Request("GET", "/", ()), timeout_s=_ACCEPT_S)
                    met = self._accepted(probe, place, stopped)
                    probe.close()
                if not met:
                    break
            return max(1, len(set(self._places.values())))

    def _open(self, connection: Connection, place: int, stopped: contextlib.ExitStack) -> None:
        if self._accepted(connection, place, stopped) or self._accepted_by_known(connection, place, stopped):
            stopped.close()
            connection.open()
            return
        # Who defers accepting waits for data, and a worker that is busy comes to it later: the others are kept from it
        # until it is answered.
        connection.open()
        holder = self._holder(connection.local_port, _BUSY_S)
        if place not in self._places:
            self.missed += holder is None
            if holder is not None:
                self._places[place] = holder

    def _accepted_by_known(self, connection: Connection, place: int, stopped: contextlib.ExitStack) -> bool:
        """Takes the worker of another place where there are fewer workers than places."""
        met = [self._places[at] for at in sorted(self._places)]
        if place in self._places or not met:
            return False
        stopped.close()
        connection.close()
        self._places[place] = met[place % len(met)]
        return self._accepted(connection, place, stopped)

    def _accepted(self, connection: Connection, place: int, stopped: contextlib.ExitStack) -> bool:
        """Connects until the worker of a place, or one that has none yet, has accepted; False where none does."""
        self._places = {at: process for at, process in self._places.items() if state(process) not in ("", "Z")}
        wanted = self._places.get(place)
        others = {process for at, process in self._places.items() if at != place and process != wanted}
        accepting = listeners(self._members(), self._port)
        common = next(iter(accepting.values()), set[str]()).intersection(*accepting.values())
        has_one_queue = bool(common)
        within_s = _ACCEPT_S if wanted is None and others else _BUSY_S
        tries = _TRIES
        if has_one_queue and (wanted is None or wanted in accepting):
            kept_out = others if wanted is None else set(accepting) - {wanted}
            stopped.enter_context(self._stopped(kept_out & set(accepting)))
            tries += 1
        for _ in range(tries):
            connection.connect()
            holder = self._holder(connection.local_port, within_s)
            if holder is not None and (holder == wanted or (wanted is None and holder not in others)):
                self._places[place] = holder
                return True
            if holder is None and (has_one_queue or not connection.local_port):
                return False
            connection.close()
        return False

    def _holder(self, port: int, within_s: float) -> int | None:
        """The process that has accepted the connection from our port; None where none has."""
        end = time.monotonic() + within_s
        handed_until = 0.0
        found: int | None = None
        pause_s = 0.001
        while port:
            members = self._members()
            holders = accepted_by(members, self._port, port)
            if holders:
                found = holders[-1]
                handed_until = handed_until or time.monotonic() + _HANDED_S
                if len(holders) == 1 and (
                    not set(descendants(found)) & set(members) or time.monotonic() > handed_until
                ):
                    return found
            if time.monotonic() > max(end, handed_until):
                break
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, 0.02)
        return found

    @contextlib.contextmanager
    def _stopped(self, processes: Iterable[int]) -> Generator[None]:
        """These do nothing within the block."""
        chosen = list(processes)
        for process in chosen:
            self._stops[process] += 1
            with contextlib.suppress(OSError):
                os.kill(process, signal.SIGSTOP)
        try:
            yield
        finally:
            for process in chosen:
                self._stops[process] -= 1
                if self._stops[process] <= 0:
                    del self._stops[process]
                    with contextlib.suppress(OSError):
                        os.kill(process, signal.SIGCONT)


def workers_of(port: int, members: Callable[[], list[int]]) -> Workers | None:
    """The workers of an instance that may have several; None where one process alone can answer, or /proc is not there."""
    if not VISIBLE:
        return None
    processes = members()
    accepting = listeners(processes, port)
    below = set(processes)
    if len(accepting) > 1 or any(set(descendants(process)) & below for process in accepting):
        return Workers(port, members)
    return None
