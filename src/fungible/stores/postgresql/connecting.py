"""What a `postgresql:` URL says: how to connect, and how the store behaves."""

import ssl
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

from fungible.core.errors import SettingError
from fungible.core.redaction import redacted
from fungible.core.urls import HomeURL
from fungible.stores.postgresql.driver import Connection, open_connection

TLS_OPTIONS: Final = ("sslmode", "sslrootcert", "sslcert", "sslkey")
SSL_MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
SESSIONS: Final = ("any", "primary", "standby", "read-write", "read-only", "prefer-standby")
OPTIONS: Final = (
    *("timeout_s", "pool_size", "statement_cache", "durability", "migrate", "host", "target_session_attrs", "reads"),
    *TLS_OPTIONS,
)
STATEMENTS_KEPT: Final = 100


class Settings(NamedTuple):
    """What the URL says."""

    home: str
    timeout_s: float
    pool_size: int
    relaxed: bool
    migrates: bool
    reads_replicas: bool
    """Whether what was just written may not be seen yet: declared, as by a proxy that sends reads elsewhere."""
    arguments: dict[str, Any]
    """For `asyncpg.connect`."""

    def __repr__(self) -> str:
        return redacted(self, "arguments")

    async def connect(self, *, session: bool = True) -> Connection:
        """A new connection.

        Args:
            session: With the settings that statements of the store run under; migrations take their time.
        """
        if session:
            return await open_connection(self.arguments)
        return await open_connection({**self.arguments, "server_settings": {}})


def parse_settings(url: HomeURL, *, timeout_s: float) -> Settings:
    """The settings in a URL; what it leaves out, asyncpg takes from the environment and `~/.pgpass`, as libpq does.

    Raises:
        SettingError: an option is unknown, or says what it can't.
    """
    url.refuse_options_but(*OPTIONS)
    relaxed = url.option("durability", "full", allowed=("full", "relaxed")) == "relaxed"
    statements = _count(url, "statement_cache", STATEMENTS_KEPT, lowest=0)
    if relaxed and not statements:
        raise SettingError(
            f"{url.redacted}: a pooler (statement_cache=0) can't be told durability=relaxed: leave it out, and "
            "ALTER ROLE ... SET synchronous_commit = off"
        )
    server_settings = {"application_name": "fungible"}
    if statements:
        # The server gives up when we do: else a statement that waits for a lock would outlive its connection, and
        # the next attempt's too, until the server has none left. A pooler refuses such settings.
        server_settings["statement_timeout"] = str(max(1, round(timeout_s * 1000)))
    if relaxed:
        server_settings["synchronous_commit"] = "off"
    hosts = [host for host, _ in url.hosts]
    return Settings(
        home=url.redacted,
        timeout_s=timeout_s,
        pool_size=_count(url, "pool_size", 10, lowest=1),
        relaxed=relaxed,
        migrates=url.option("migrate", "never", allowed=("never", "auto")) == "auto",
        reads_replicas=url.option("reads", "primary", allowed=("primary", "replica")) == "replica",
        arguments={
            **_tls(url),
            "host": hosts or url.option("host", "") or None,
            "port": [port or 5432 for _, port in url.hosts] or None,
            "user": url.username,
            "password": url.password,
            "database": url.path or None,
            "statement_cache_size": statements,
            # Our statements never grow stale: there are a dozen.
            "max_cached_statement_lifetime": 0,
            # Of several hosts the one that takes writes is meant.
            "target_session_attrs": url.option(
                "target_session_attrs", "read-write" if len(hosts) > 1 else "any", allowed=SESSIONS
            ),
            "server_settings": server_settings,
        },
    )


def _tls(url: HomeURL) -> dict[str, Any]:
    url.option("sslmode", "prefer", allowed=SSL_MODES)
    given = {name: url.options[name] for name in TLS_OPTIONS if name in url.options}
    system = given.get("sslrootcert") == "system"
    for name in ("sslrootcert", "sslcert", "sslkey")[system:]:
        if name in given and not Path(given[name]).is_file():
            raise SettingError(f"{url.redacted}: there is no file {name}={given[name]!r}")
    if system:
        # As in libpq since 16: the authorities that the system trusts, and nothing weaker than the full check.
        if given.get("sslmode", "verify-full") != "verify-full":
            raise SettingError(f"{url.redacted}: sslrootcert=system needs sslmode=verify-full")
        context = ssl.create_default_context()
        if "sslcert" in given:
            context.load_cert_chain(given["sslcert"], given.get("sslkey"))
        return {"ssl": context}
    # asyncpg takes these from a URL only; an empty one leaves the rest to the other arguments.
    return {"dsn": f"postgresql://?{urlencode(given)}"} if given else {}


def _count(url: HomeURL, name: str, default: int, *, lowest: int) -> int:
    text = url.options.get(name, str(default))
    if not text.isdecimal() or not text.isascii() or int(text) < lowest:
        raise SettingError(f"{url.redacted}: the option {name}={text!r} must be a whole number, {lowest} or more")
    return int(text)
