"""The servers of a URL, and which of them has a key."""

import asyncio
import random
from hashlib import blake2b
from typing import Final, NamedTuple

from fungible.core.errors import SettingError
from fungible.core.urls import HomeURL
from fungible.stores.errors import StoreUnavailableError
from fungible.stores.memcached.connection import Connection

DEFAULT_PORT: Final = 11211
FIRST_PAUSE_S: Final = 0.05
LONGEST_PAUSE_S: Final = 1.0


class Settings(NamedTuple):
    """What the URL says."""

    home: str
    timeout_s: float
    addresses: tuple[tuple[str, int], ...]
    """Host and port each; the path of a Unix socket and 0."""


def parse_settings(url: HomeURL, *, timeout_s: float) -> Settings:
    """The settings in a URL.

    Raises:
        SettingError: it says something that there is not.
    """
    url.refuse_options_but("timeout_s")
    if url.username or url.password:
        raise SettingError(
            f"{url.redacted}: signing in to Memcached is not supported: leave out the user and the password"
        )
    if url.scheme == "memcached+unix":
        return Settings(url.redacted, timeout_s, ((url.socket_path(), 0),))
    if url.path:
        raise SettingError(
            f"{url.redacted}: Memcached has no databases: leave out {url.path!r}; a Unix socket is named by "
            "memcached+unix:///path"
        )
    addresses = tuple((host, port or DEFAULT_PORT) for host, port in url.hosts or (("localhost", None),))
    if len(set(addresses)) < len(addresses):
        raise SettingError(f"{url.redacted}: a host is named twice")
    return Settings(url.redacted, timeout_s, addresses)


class Server:
    """One server, in one event loop."""

    def __init__(self, host: str, port: int, settings: Settings) -> None:
        self.name = f"{host}:{port}" if port else host
        self.seed = blake2b(self.name.encode()).digest()
        self._address = (host, port)
        self._settings = settings
        self._connection: Connection | None = None
        self._opening: asyncio.Task[Connection] | None = None
        self._reason = ""
        self._pause_s = FIRST_PAUSE_S
        self._retry_at = 0.0
        self._closed = False

    async def connection(self, deadline: float) -> Connection:
        """The connection that all share, opened anew where it has ended.

        Raises:
            StoreUnavailableError: it can't be opened.
            TimeoutError: it is not open by the deadline.
        """
        if self._connection is not None and not self._connection.closed:
            return self._connection
        loop = asyncio.get_running_loop()
        if self._opening is None:
            if self._closed or loop.time() < self._retry_at:
                raise self.unavailable(self._reason)
            self._opening = loop.create_task(self._open())
            self._opening.add_done_callback(self._opened)
        opening = self._opening
        try:
            async with asyncio.timeout_at(deadline):
                # Shielded: it is for everybody, whoever gives up meanwhile.
                return await asyncio.shield(opening)
        except asyncio.CancelledError:
            if self._closed and opening.cancelled():
                raise self.unavailable(self._reason) from None
            raise

    def unavailable(self, reason: str) -> StoreUnavailableError:
        """The error that says so."""
        where = f"{self.name}: " if len(self._settings.addresses) > 1 else ""
        return StoreUnavailableError(home=self._settings.home, reason=f"{where}{reason}")

    async def aclose(self) -> None:
        """Closes the connection."""
        self._closed, self._reason = True, "the store was closed"
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait([self._opening])
        if self._connection is not None:
            self._connection.close(self._reason)
            # The transport lets go of its socket in the loop's next round.
            await asyncio.sleep(0)

    async def _open(self) -> Connection:
        loop = asyncio.get_running_loop()
        # Made before its socket: a fork in between finds it.
        connection = Connection()
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                host, port = self._address
                if host.startswith("/"):
                    await loop.create_unix_connection(lambda: connection, host)
                else:
                    await loop.create_connection(lambda: connection, host, port)
        except (OSError, UnicodeError) as error:
            # Every instance pauses for its own time: they do not come back all at once.
            self._retry_at = loop.time() + self._pause_s * random.uniform(0.5, 1.0)
            self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S)
            self._reason = "no connection in time" if isinstance(error, TimeoutError) else f"no connection: {error}"
            raise self.unavailable(self._reason) from None
        self._pause_s = FIRST_PAUSE_S
        self._connection = connection
        return connection

    def _opened(self, opening: "asyncio.Task[Connection]") -> None:
        self._opening = None
        if not opening.cancelled():
            # Looked at, in case that all who waited have gone.
            opening.exception()


class Servers:
    """All servers of a URL, in one event loop."""

    def __init__(self, settings: Settings) -> None:
        self.all = tuple(Server(host, port, settings) for host, port in settings.addresses)

    def of(self, name: bytes) -> Server:
        """The server that has a name, by rendezvous hashing.

        All instances agree on it, if their URLs name the same hosts in the same words, in any order. A server that is
        away keeps its keys: were another to stand in, it would hold what was deleted meanwhile, and bring it back.
        Source: Thaler and Ravishankar, "Using name-based mappings to increase hit rates", 1998.
        """
        if len(self.all) == 1:
            return self.all[0]
        return max(self.all, key=lambda server: blake2b(name, key=server.seed, digest_size=8).digest())

    async def aclose(self) -> None:
        """Closes all connections."""
        await asyncio.gather(*(server.aclose() for server in self.all))
