"""Memcached."""

from servers.server import Server


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
