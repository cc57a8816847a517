"""Memcached."""

import socket

from servers.server import Server


class MemcachedUnixServer(Server):
    """One that listens at a Unix socket, which excludes ports."""

    name = "memcached"

    @property
    def url(self) -> str:
        return f"memcached+unix://{self.folder}/memcached.sock"

    def command(self) -> list[str]:
        return [str(self.binary()), "-s", str(self.folder / "memcached.sock"), "-a", "0700", "-m", "64"]

    def ready(self) -> bool:
        return self.ask(b"version\r\n").startswith(b"VERSION")

    def reset(self) -> None:
        assert self.ask(b"flush_all\r\n") == b"OK\r\n"

    def ask(self, request: bytes) -> bytes:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            connection.connect(str(self.folder / "memcached.sock"))
            connection.sendall(request)
            return connection.recv(4096)


class MemcachedServer(Server):
    """One Memcached: it forgets everything when it is killed."""

    name = "memcached"

    @property
    def url(self) -> str:
        return f"memcached://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        return [str(self.binary()), "-l", "127.0.0.1", "-p", str(self.port), "-U", "0", "-m", "64"]

    def ready(self) -> bool:
        return self.ask(b"version\r\n").startswith(b"VERSION")

    def reset(self) -> None:
        assert self.ask(b"flush_all\r\n") == b"OK\r\n"
