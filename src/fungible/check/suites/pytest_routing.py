"""Which instance serves which request of a test, and what came of each."""

import contextlib
import threading
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from fungible.check.errors import CheckError
from fungible.check.http.client import Address
from fungible.check.runs.world import World

LOCAL = frozenset({"localhost", "127.0.0.1", "::1", "testserver"})
_PORTS = {"http": 80, "https": 443}


@dataclass
class Sent:
    """One request of a test: who served it, and the answer as the suite's client has it.

    `ended` is called once the answer has been read; `body` gives the body, or None where nobody has read it.
    """

    slot: int
    address: Address
    method: str
    target: str
    ended: Callable[[], None]
    response: Any = None
    body: Callable[[Any], bytes | None] = lambda response: None
    error: str = ""

    @property
    def status(self) -> int:
        """0 where no answer came."""
        return 0 if self.response is None else int(self.response.status_code)

    @property
    def words(self) -> str:
        """The answer in a few words: `303 to /login`."""
        if self.response is None:
            return self.error or "no answer"
        where = self.response.headers.get("location")
        return f"{self.status} to {where}" if where and 300 <= self.status < 400 else str(self.status)


class Run:
    """One run of a test on instances of its own.

    The first `spread` slots take turns; where `killing`, each request has an instance of its own, which is killed and
    its disk wiped once it has answered.
    """

    def __init__(self, world: World, *, spread: int, killing: bool = False) -> None:
        self.sent: list[Sent] = []
        self.failed: CheckError | None = None
        self._world = world
        self._spread = spread
        self._killing = killing
        self._turn = 0
        self._lock = threading.Lock()

    def place(self, method: str, target: str) -> Sent:
        """Chooses the instance of the next request.

        Raises:
            CheckError: it could not be started.
        """
        with self._lock:
            slot = self._turn if self._killing else self._turn % self._spread
            self._turn += 1
        try:
            address = self._world.instance(slot).address
        except CheckError as error:
            self.failed = error
            raise
        sent = Sent(slot, address, method, target, self._ending(slot))
        with self._lock:
            self.sent.append(sent)
        return sent

    def _ending(self, slot: int) -> Callable[[], None]:
        def end() -> None:
            with self._lock:
                if self._killing and slot in self._world.instances:
                    self._world.crash(slot)

        return end


class Router:
    """Tells the requests of the suite from all others, and hands them to the run that is on.

    With `any_local` these are the requests to this machine, whatever the port; always those to the origin of `base_url`.
    """

    def __init__(self, base_url: str, *, any_local: bool) -> None:
        parts = urlsplit(base_url)
        self._origin = (parts.hostname, parts.port or _PORTS[parts.scheme])
        self._any_local = any_local
        self._run: Run | None = None

    @contextlib.contextmanager
    def serving(self, run: Run) -> Generator[None]:
        """While a run is on, its instances get the requests."""
        self._run = run
        try:
            yield
        finally:
            self._run = None

    def place(self, method: str, url: str) -> Sent | None:
        """Where a request goes; None for one that is none of ours."""
        run = self._run
        if run is None:
            return None
        parts = urlsplit(url)
        host = (parts.hostname or "").strip("[]")
        ours = (host, parts.port or _PORTS.get(parts.scheme)) == self._origin
        if not ours and not (self._any_local and host in LOCAL):
            return None
        return run.place(method, (parts.path or "/") + (f"?{parts.query}" if parts.query else ""))
