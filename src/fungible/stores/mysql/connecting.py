"""What a `mysql:` URL says, and one connection as the store uses it."""

import asyncio
import math
import ssl
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, NamedTuple, cast

import asyncmy
from asyncmy.constants import CLIENT
from asyncmy.errors import MySQLError

from fungible.core.errors import FungibleError, SettingError
from fungible.core.forks import let_go, tell_children
from fungible.core.redaction import redacted
from fungible.core.urls import HomeURL
from fungible.stores.errors import StoreUnavailableError
from fungible.stores.mysql.failures import is_whole_answer
from fungible.stores.mysql.server import VARIABLES, Server, described

DEFAULT_PORT: Final = 3306
DEFAULT_POOL_SIZE: Final = 10
SSL_MODES: Final = ("disabled", "required", "verify_ca", "verify_identity")
OPTIONS: Final = (
    *("timeout_s", "pool_size", "migrate", "unix_socket"),
    *("ssl_mode", "ssl_ca", "ssl_cert", "ssl_key", "reads"),
)
LONG_WAIT_S: Final = 60
"""How long a migration waits for locks, in seconds."""


Parameters = Mapping[str, bytes | int]
NOTHING: Final[Parameters] = {}


class Answer(NamedTuple):
    """What one statement answered."""

    rows: Sequence[Sequence[Any]]
    matched: int
    """Rows that an UPDATE found, whether or not it changed them."""
    number: int
    """What LAST_INSERT_ID(...) was given."""


class Connection:
    """One connection, at most one statement at a time."""

    def __init__(self, raw: Any, transport: Any) -> None:
        self._raw = raw
        self.server = Server()
        """What is at its other end."""
        # Kept, since a cancelled call makes the driver forget it after a polite close, which waits until what was
        # written is gone: for ever, at a server that does not read.
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        tell_children(self)
        self.last_used = 0.0
        self.expired = False
        """Whether it was ended because its call's time was over."""

    async def run(self, sql: str, parameters: Parameters = NOTHING) -> Answer:
        """One statement's answer."""
        cursor = self._raw.cursor()
        await cursor.execute(_filled(sql, parameters))
        return await _answer(cursor)

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[None]:
        """A block of statements that happen together or, if one of them or the COMMIT has failed, not at all.

        Each is a packet of its own. Sent in one, those that come after a statement whose transaction the server has given
        up, as Galera does to the slower of two nodes, are carried out all the same; and the COMMIT says that all is well.
        """
        await self.run("START TRANSACTION")
        try:
            yield
            await self.run("COMMIT")
        except MySQLError as error:
            # After an error the driver does not know that the transaction is over; and not every error ends it.
            if is_whole_answer(error):
                await self.run("ROLLBACK")
            raise

    @property
    def ended(self) -> bool:
        """Whether it has ended, on either side."""
        return bool(self._raw._stream_broken)

    def usable_after(self, error: BaseException) -> bool:
        """Whether the next statement may use it: the error was the server's whole answer, and left nothing open."""
        if isinstance(error, FungibleError):
            return True
        return is_whole_answer(error) and not self._raw.get_transaction_status() and not self.ended

    def abort(self) -> None:
        """Ends it at once; whoever waits for an answer gets an error."""
        self._transport.abort()
        self._raw.close()

    def forked(self) -> None:
        """In the child of a fork: the socket is the parent's."""
        let_go(self._transport, self._loop, self.abort)

    def expire(self) -> None:
        """Ends it at once, for its call's time is over."""
        self.expired = True
        self.abort()

    async def quit(self) -> None:
        """Takes leave of the server, which would log a connection that was just dropped."""
        with suppress(MySQLError, OSError):
            await self._raw.ensure_closed()


def _filled(sql: str, parameters: Parameters) -> str:
    """The statement with its parameters in place.

    As hexadecimal literals bytes need no quoting, whatever the server's sql_mode says of quotes and backslashes. The
    driver's quoting takes 12 us for a field of 200 bytes; this takes less than one.
    """
    filled = {name: f"x'{value.hex()}'" if isinstance(value, bytes) else value for name, value in parameters.items()}
    return sql % filled


async def _answer(cursor: Any) -> Answer:
    rows = await cursor.fetchall() if cursor.description else ()
    return Answer(rows, cursor.rowcount, cursor.lastrowid)


class Settings(NamedTuple):
    """What the URL says."""

    home: str
    timeout_s: float
    pool_size: int
    migrates: bool
    reads_replicas: bool
    """Whether what was just written may not be seen yet: declared, as by a proxy that sends reads elsewhere."""
    arguments: dict[str, Any]
    """For `asyncmy.connect`."""

    def __repr__(self) -> str:
        return redacted(self, "arguments")

    async def connect(self, *, wait_s: float) -> Connection:
        """A new connection, on which a statement waits for locks for `wait_s` seconds at most, rounded up."""
        try:
            raw: Any = await asyncmy.connect(**self.arguments)  # pyright: ignore[reportUnknownMemberType]
        except (MySQLError, OSError):
            raise
        except Exception as error:
            # Whatever the driver stumbles over in a greeting that is no MySQL server's.
            reason = f"no MySQL server answers there ({type(error).__name__})"
            raise StoreUnavailableError(home=self.home, reason=reason) from error
        connection = Connection(raw, raw._transport)
        try:
            connection.server = described((await connection.run(VARIABLES)).rows)
            await connection.run(connection.server.session(wait_s=math.ceil(wait_s)))
        except BaseException:
            connection.abort()
            raise
        return connection


def parse_settings(url: HomeURL, *, timeout_s: float) -> Settings:
    """The settings in a URL.

    Raises:
        SettingError: an option is unknown, or says what it can't.
    """
    url.refuse_options_but(*OPTIONS)
    if len(url.hosts) > 1:
        raise SettingError(f"{url.redacted}: name one host, such as a proxy's that leads to the primary")
    if not url.path:
        raise SettingError(f"{url.redacted}: the database is missing: mysql://user:password@host/database")
    host, port = url.hosts[0] if url.hosts else ("localhost", None)
    return Settings(
        home=url.redacted,
        timeout_s=timeout_s,
        pool_size=_pool_size(url),
        migrates=url.option("migrate", "never", allowed=("never", "auto")) == "auto",
        reads_replicas=url.option("reads", "primary", allowed=("primary", "replica")) == "replica",
        arguments={
            "host": host,
            "port": port or DEFAULT_PORT,
            "unix_socket": url.options.get("unix_socket"),
            "user": url.username,
            # As bytes: the driver would take text for Latin-1.
            "password": (url.password or "").encode(),
            "database": url.path,
            "charset": "utf8mb4",
            "autocommit": True,
            # An UPDATE that finds its row and changes nothing must not look like one that finds none.
            "client_flag": CLIENT.FOUND_ROWS,
            "ssl": _tls(url),
        },
    )


def _tls(url: HomeURL) -> ssl.SSLContext | None:
    given = [name for name in ("ssl_ca", "ssl_cert", "ssl_key") if name in url.options]
    mode = url.option("ssl_mode", "verify_identity" if given else "disabled", allowed=SSL_MODES)
    if mode == "disabled":
        if given:
            raise SettingError(f"{url.redacted}: the option {given[0]} needs another ssl_mode than disabled")
        return None
    try:
        context = ssl.create_default_context(cafile=url.options.get("ssl_ca"))
        if "ssl_cert" in url.options:
            context.load_cert_chain(url.options["ssl_cert"], url.options.get("ssl_key"))
    except OSError as error:
        raise SettingError(
            f"{url.redacted}: the files of ssl_ca, ssl_cert and ssl_key can't be read: {error}"
        ) from None
    context.check_hostname = mode == "verify_identity"
    if mode == "required":
        context.verify_mode = ssl.CERT_NONE
    return context


def _pool_size(url: HomeURL) -> int:
    text = url.options.get("pool_size", str(DEFAULT_POOL_SIZE))
    if not (text.isascii() and text.isdecimal() and int(text)):
        raise SettingError(f"{url.redacted}: the option pool_size={text!r} must be a whole number, 1 or more")
    return int(text)


def row(answer: Answer) -> tuple[Any, ...] | None:
    """The only row of an answer, or None."""
    return cast(tuple[Any, ...], answer.rows[0]) if answer.rows else None
