"""The way to a Redis Cluster: each key goes to the server that has its slot."""

import asyncio
import random
from binascii import crc_hqx
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Final, NamedTuple

from hiredis import ReplyError

from fungible.stores.errors import StoreUnavailableError
from fungible.stores.redis.connection import Command, Reply, UnsentError
from fungible.stores.redis.dialing import RefusedError, dial, first_of
from fungible.stores.redis.failures import code_of, reason_of
from fungible.stores.redis.link import Link
from fungible.stores.redis.settings import Address, Settings

SLOTS: Final = 16_384
PAUSE_S: Final = 0.05
"""About how long until a question is put again to a cluster that is busy with a failover."""
ELSEWHERE: Final = (ReplyError, UnsentError)
PASSING: Final = frozenset({"CLUSTERDOWN", "TRYAGAIN", "LOADING", "MASTERDOWN", "READONLY"})
MOST_REDIRECTIONS: Final = 5
"""In a row. After more than that the servers disagree, and are given a moment."""


def slot_of(key: str) -> int:
    """The slot of a key. Source: the Redis Cluster specification, "Key distribution model" and "Hash tags"."""
    text = key.encode()
    start = text.find(b"{")
    if start >= 0:
        end = text.find(b"}", start + 1)
        if end > start + 1:
            text = text[start + 1 : end]
    return crc_hqx(text, 0) % SLOTS


class Redirection(NamedTuple):
    """Where a server says that a key is: for good (`MOVED`), or for this one command (`ASK`)."""

    kind: str
    address: Address


def redirection(reply: ReplyError | UnsentError, asked: Address | None) -> Redirection | None:
    """What an error reply says about the place of a key: `MOVED 3999 10.0.0.7:6381`."""
    words = str(reply).split(" ")
    if isinstance(reply, UnsentError) or asked is None or len(words) != 3 or words[0] not in {"MOVED", "ASK"}:
        return None
    host, _, port = words[2].rpartition(":")
    # Without a host it is that of the server which was asked.
    return Redirection(words[0], (host.strip("[]") or asked[0], int(port)))


def passes(reply: ReplyError | UnsentError) -> bool:
    """Whether the command was not carried out, and may be soon, there or elsewhere."""
    if isinstance(reply, UnsentError):
        return not isinstance(reply, RefusedError)
    return code_of(reply) in PASSING


def owners_of(reply: Reply, asked: Address) -> list[Address | None]:
    """Who has each slot, by the answer to CLUSTER SLOTS: ranges, each with its master first."""
    owners: list[Address | None] = [None] * SLOTS
    for first, last, (host, port, *_), *_ in reply:
        address = (asked[0] if host in {None, b"", b"?"} else host.decode(), int(port))
        owners[first : last + 1] = [address] * (last - first + 1)
    return owners


class Cluster:
    """Sends each command to the master of its key's slot, over one connection to each master."""

    def __init__(self, settings: Settings, *, draw: Callable[[], float] = random.random) -> None:
        self._settings = settings
        self._draw = draw
        self._links: dict[Address, Link] = {}
        self._retired: list[Link] = []
        self._owners: list[Address | None] = [None] * SLOTS
        self._refreshing: asyncio.Task[None] | None = None
        self._reason = "no node of the cluster was asked yet"
        self._closed = False

    async def call(self, key: str, command: Command, *, repeatable: bool) -> Reply:
        """The reply to a command on a key. Error replies are values."""
        deadline = monotonic() + self._settings.timeout_s
        slot, asking, redirected = slot_of(key), False, 0
        address = self._owners[slot]
        while True:
            if address is None:
                await self._refreshed(deadline)
                address = self._owners[slot]
            reply = await self._try(address, command, deadline, repeatable=repeatable, asking=asking)
            if not isinstance(reply, ELSEWHERE):
                return reply
            found = redirection(reply, address)
            if found is not None and redirected < MOST_REDIRECTIONS:
                redirected += 1
                address, asking = found.address, found.kind == "ASK"
                if not asking:
                    self._owners[slot] = address
                    self._refresh_soon()
                continue
            if self._closed or not passes(reply) or monotonic() + PAUSE_S > deadline:
                if isinstance(reply, UnsentError):
                    raise reply
                return reply
            await asyncio.sleep(PAUSE_S * (0.5 + self._draw()))
            await self._refreshed(deadline)
            address, asking = self._owners[slot], False

    async def reach(self) -> None:
        """Makes sure that every master answers."""
        deadline = monotonic() + self._settings.timeout_s
        await self._refreshed(deadline)
        masters = {address for address in self._owners if address is not None}
        if not masters:
            raise self._unknown()
        replies = await asyncio.gather(
            # Asking, as in the midst of a resharding: who may not do that finds it out now.
            *(self._link(master).request(("PING",), deadline, repeatable=True, asking=True) for master in masters)
        )
        for reply in replies:
            if isinstance(reply, ReplyError):
                raise StoreUnavailableError(home=self._settings.home, reason=reason_of(reply))

    async def aclose(self) -> None:
        """Closes all connections."""
        self._closed = True
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.wait([self._refreshing])
        for link in (*self._links.values(), *self._retired):
            await link.aclose()

    async def _try(
        self, address: Address | None, command: Command, deadline: float, *, repeatable: bool, asking: bool
    ) -> Reply | UnsentError:
        if address is None:
            return self._unknown()
        try:
            return await self._link(address).request(command, deadline, repeatable=repeatable, asking=asking)
        except UnsentError as error:
            return error
        except StoreUnavailableError:
            # It may be lost for good: who comes next should find who has taken its place.
            self._refresh_soon()
            raise

    def _link(self, address: Address) -> Link:
        link = self._links.get(address)
        if link is None:
            settings = self._settings
            # No patience with one server: while we waited for it, another may have taken its place.
            link = self._links[address] = Link(
                partial(dial, address, settings), home=settings.home, timeout_s=settings.timeout_s, patience_s=0
            )
        return link

    def _refresh_soon(self) -> asyncio.Task[None]:
        if self._refreshing is None:
            self._refreshing = asyncio.create_task(self._refresh())
        return self._refreshing

    async def _refreshed(self, deadline: float) -> None:
        """Waits until the owners are known anew, or could not be found out."""
        task = self._refresh_soon()
        await asyncio.wait([task], timeout=max(0.0, deadline - monotonic()))
        if task.done() and not task.cancelled():
            task.result()

    async def _refresh(self) -> None:
        try:
            # Those named in the URL may be replicas by now, or gone: they are asked if no master that we know answers.
            for group in (tuple(self._links), self._settings.addresses):
                if group and not self._closed and await self._learn(group):
                    return
        finally:
            self._refreshing = None

    async def _learn(self, addresses: tuple[Address, ...]) -> bool:
        try:
            self._owners = await first_of(self._ask(address) for address in addresses)
        except StoreUnavailableError as error:
            self._reason = error.reason
            return False
        masters = {address for address in self._owners if address is not None}
        self._reason = "no node of the cluster has the key's slot"
        self._retired = [link for link in self._retired if not link.idle]
        for address in set(self._links) - masters:
            link = self._links.pop(address)
            link.retire()
            self._retired.append(link)
        return True

    async def _ask(self, address: Address) -> list[Address | None]:
        deadline = monotonic() + self._settings.timeout_s
        reply = await self._link(address).request(("CLUSTER", "SLOTS"), deadline, repeatable=True)
        if isinstance(reply, ReplyError):
            raise UnsentError(home=self._settings.home, reason=reason_of(reply))
        return owners_of(reply, address)

    def _unknown(self) -> UnsentError:
        return UnsentError(home=self._settings.home, reason=self._reason)
