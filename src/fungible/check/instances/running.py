"""Instances that somebody else runs (staging, pods): what can be asked without starting and killing."""

import itertools
import urllib.parse
from collections.abc import Sequence

from fungible.check.errors import CheckFileError, StartError
from fungible.check.http.client import Address, Request, send
from fungible.check.instances.pool import Kit
from fungible.check.instances.starter import Instance
from fungible.check.isolation.disks import Disk


def address_of(url: str) -> Address:
    """The address in `http://web-1:8000`.

    Raises:
        CheckFileError: it is no such URL.
    """
    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise CheckFileError(f"{url!r} is no URL of an instance: {error}") from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path not in {"", "/"}:
        raise CheckFileError(f"{url!r} is no URL of an instance: it should look like http://web-1:8000")
    tls = parts.scheme == "https"
    return Address(parts.hostname, port or (443 if tls else 80), tls)


class RunningPool:
    """Serves the instances that run, in their order, to every world; starts and ends nothing."""

    starts = 0

    def __init__(self, urls: Sequence[str], host: str) -> None:
        self._instances = [Instance(number, address_of(url)) for number, url in enumerate(urls, 1)]
        self._turns: dict[int, itertools.cycle[Instance]] = {}
        self._closed = False
        for instance in self._instances:
            request = Request("GET", "/", (("Host", host), ("Accept-Encoding", "identity")))
            answer = send(instance.address, request, timeout_s=10)
            if answer.error is not None and not answer.status:
                raise StartError(f"the instance at {instance.address.url} does not answer: {answer.error}")

    def open_world(self) -> Kit:
        """A kit whose instances are taken from the first one on."""
        kit = Kit({})
        self._turns[id(kit)] = itertools.cycle(self._instances)
        return kit

    def close_world(self, kit: Kit) -> None:
        """Forgets a kit."""
        self._turns.pop(id(kit), None)

    def take(self, kit: Kit, *, more: int = 0) -> Instance:
        """The next instance."""
        self.check_open()
        return next(self._turns[id(kit)])

    def dispose(self, instance: Instance) -> None:
        """Leaves it running."""

    def close(self) -> None:
        """Leaves them all running, and gives no more of them away."""
        self._closed = True

    def check_open(self) -> None:
        """Keeps a run from going on.

        Raises:
            StartError: the pool is closed.
        """
        if self._closed:
            raise StartError("stopped")

    def fresh_disk(self, kit: Kit) -> Disk:
        """Not for instances that somebody else runs."""
        raise StartError("instances given with --at can't be started or killed")

    def start_on(self, disk: Disk, *, first: bool, common_randomness: bool = False) -> Instance:
        """Not for instances that somebody else runs."""
        raise StartError("instances given with --at can't be started or killed")

    def start_all(self, kit: Kit, count: int, *, common_randomness: bool) -> list[Instance]:
        """Not for instances that somebody else runs."""
        raise StartError("instances given with --at can't be started or killed")
