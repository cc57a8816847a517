"""Opens connections: the socket, TLS, and what is said first."""

import asyncio
import socket
import ssl
from collections.abc import Coroutine, Iterable
from time import monotonic
from typing import Any, Final, TypeVar

from hiredis import ReplyError

from fungible.stores.errors import StoreUnavailableError
from fungible.stores.redis.connection import Command, Connection, Reply, UnsentError, pack
from fungible.stores.redis.failures import REFUSALS, code_of, reason_of, reason_unreachable
from fungible.stores.redis.settings import Address, Login, Settings

T = TypeVar("T")

KEEPALIVE: Final = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 15, "TCP_KEEPCNT": 4}
"""In seconds, and a count. Routers forget idle connections, silently: the next command would wait in vain."""


class RefusedError(UnsentError):
    """It is there, and does not let us in; or is not whom we can trust."""


async def dial(
    address: Address, settings: Settings, *, login: Login | None = None, database: int = 0, role: str | None = None
) -> Connection:
    """A connection that is ready for use. Waits as long as it takes: the caller has a deadline.

    Args:
        login: By default the settings'.
        role: What the server must say it is: `master`.
    Raises:
        UnsentError: there is nobody, or not who was expected.
        RefusedError: it does not let us in, or is not to be trusted: another attempt would end the same way.
    """
    loop = asyncio.get_running_loop()
    host, port = address
    unix = host.startswith("/")
    # Made before its socket: a fork in between finds it.
    connection = Connection(home=settings.home, timeout_s=settings.timeout_s)
    try:
        if unix:
            await loop.create_unix_connection(lambda: connection, host)
        else:
            transport, _ = await loop.create_connection(lambda: connection, host, port, ssl=settings.tls)
            keep_alive(transport.get_extra_info("socket"))
    except UnicodeError as error:
        # From the codec for host names of other scripts.
        raise RefusedError(home=settings.home, reason=f"the host name {host!r} can't be one: {error}") from error
    except OSError as error:
        # Who has no trusted certificate, or speaks no TLS, will have none the next time, either.
        settled = isinstance(error, ssl.SSLError) and not isinstance(error, ssl.SSLEOFError)
        kind = RefusedError if settled else UnsentError
        raise kind(home=settings.home, reason=reason_unreachable(error, host, port)) from error
    try:
        await _greet(connection, settings, login or settings.login, database, role)
    except BaseException:
        connection.end("the connection could not be used")
        raise
    if connection.lost is not None:
        raise UnsentError(home=settings.home, reason=connection.lost)
    connection.usable = True
    return connection


async def _greet(connection: Connection, settings: Settings, login: Login, database: int, role: str | None) -> None:
    """Says who we are, all in one go, and looks at the answers."""
    commands: dict[str, Command] = {}
    if login.password is not None:
        words = (login.username, login.password) if login.username else (login.password,)
        commands["login"] = ("AUTH", *words)
    # For the operator's CLIENT LIST. Proxies and restricted users may have no such command: no matter.
    commands["name"] = ("CLIENT", "SETNAME", "fungible")
    if database:
        commands["database"] = ("SELECT", database)
    if role is not None:
        commands["role"] = ("ROLE",)
    commands["ping"] = ("PING",)
    deadline = monotonic() + settings.timeout_s
    waiting = [connection.send(pack(command), deadline) for command in commands.values()]
    replies: dict[str, Reply] = dict(zip(commands, await asyncio.gather(*waiting, return_exceptions=True), strict=True))
    for step, reply in replies.items():
        if isinstance(reply, ReplyError) and (reason := _refusal(step, reply)):
            kind = RefusedError if step == "login" or code_of(reply) in REFUSALS else UnsentError
            raise kind(home=settings.home, reason=reason)
    for reply in replies.values():
        if isinstance(reply, StoreUnavailableError):
            raise reply
    found = replies.get("role")
    if role is not None and isinstance(found, list) and found[0] != role.encode():
        raise UnsentError(home=settings.home, reason=f"the server named as {role} is none")


def _refusal(step: str, error: ReplyError) -> str:
    """Why a reply to what is said first means that there is no use in going on; empty where there is."""
    # A server that is full says so in reply to whatever comes first, and hangs up.
    if "max number of clients" in str(error):
        return "it has as many clients as it takes: raise maxclients"
    # Without its database it would write into another one.
    if step in {"name", "role"} or (step != "database" and code_of(error) == "NOPERM"):
        return ""
    return reason_of(error)


async def first_of(attempts: Iterable[Coroutine[Any, Any, T]]) -> T:
    """The result of the first that succeeds; all are begun at once, for each may be a black hole.

    Raises:
        StoreUnavailableError: none succeeds; it is the last one's.
    """
    tasks = [asyncio.ensure_future(attempt) for attempt in attempts]
    failure: StoreUnavailableError | None = None
    try:
        for task in asyncio.as_completed(tasks):
            try:
                return await task
            except StoreUnavailableError as error:
                failure = error
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert failure is not None, "nobody was asked"
    raise failure


def keep_alive(sock: socket.socket) -> None:
    """Lets the kernel notice when the other end is gone, where the platform can."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in KEEPALIVE.items():
        if hasattr(socket, name):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
