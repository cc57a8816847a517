"""Redis Cluster and Redis Sentinel: several servers each, all private."""

import shutil
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import ClassVar, Self

from servers.ports import free_port
from servers.redis import CLUSTER_RIGHTS, LOGIN, RIGHTS, RedisServer, user, with_login

FORMS_WITHIN_S = 60
BUS_ABOVE = 10_000
"""A cluster's nodes talk to each other on the port this much above their own."""
MASTER_NAME = "main"


class ClusterNode(RedisServer):
    """One node of a cluster."""

    rights = (*RIGHTS, *CLUSTER_RIGHTS)

    options: ClassVar[tuple[str, ...]] = (
        *("--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--repl-diskless-sync-delay", "0"),
        *("--cluster-require-full-coverage", "no"),
    )

    def pick_port(self) -> int:
        return free_port(also_above=BUS_ABOVE)


class Replica(RedisServer):
    """A copy of another server."""

    def __init__(self, master: RedisServer) -> None:
        super().__init__()
        self.master = master

    def command(self) -> list[str]:
        return [*super().command(), "--replicaof", "127.0.0.1", str(self.master.port)]


class Sentinel(RedisServer):
    """One of those who watch a master and agree on its successor."""

    def __init__(self, master: RedisServer, *, quorum: int) -> None:
        super().__init__()
        self.master = master
        self.quorum = quorum

    def prepare(self) -> None:
        self.write(
            "sentinel.conf",
            f"port {self.port}\nbind 127.0.0.1\ndir {self.folder}\nprotected-mode no\n"
            f"sentinel monitor {MASTER_NAME} 127.0.0.1 {self.master.port} {self.quorum}\n"
            f"sentinel down-after-milliseconds {MASTER_NAME} 500\n"
            f"sentinel failover-timeout {MASTER_NAME} 1000\n"
            f"user {' '.join(user('+sentinel|get-master-addr-by-name'))}\n",
        )

    def command(self) -> list[str]:
        return [str(self.binary()), str(self.folder / "sentinel.conf"), "--sentinel"]


class _Fleet:
    """Servers that start and end together."""

    servers: list[RedisServer]
    url: str

    @property
    def bare_url(self) -> str:
        """How an application names them that has a user with just the rights that a store needs."""
        return with_login(self.url)

    @classmethod
    def missing(cls) -> str | None:
        """Why it can't run here, or None."""
        return RedisServer.missing()

    def __enter__(self) -> Self:
        with ExitStack() as started:
            for server in self.servers:
                started.enter_context(server)
            self.form()
            self.settle()
            self._started = started.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._started.close()

    def form(self) -> None:
        """Makes them know each other."""

    def settle(self) -> None:
        """Waits until all are in their places."""
        raise NotImplementedError

    def pause(self) -> None:
        """All of them become a black hole."""
        for server in self.servers:
            server.pause()

    def resume(self) -> None:
        """Ends a pause, and waits until all are in their places: some may have taken others for dead."""
        for server in self.servers:
            server.resume()
        self.settle()

    def revive(self) -> None:
        """Makes all of them run, whatever a test has done to them."""
        for server in self.servers:
            server.revive()
        self.settle()

    def connections(self) -> int:
        """How many connections all of them have now, those among themselves included."""
        return sum(server.connections() for server in self.servers)

    def peers(self) -> set[str]:
        """The other ends of the connections of all of them."""
        return set().union(*(server.peers() for server in self.servers))


class RedisClusterServers(_Fleet):
    """Three masters with a replica each."""

    def __init__(self) -> None:
        self.servers = [ClusterNode() for _ in range(6)]

    @classmethod
    def missing(cls) -> str | None:
        return RedisServer.missing() or (None if shutil.which("redis-cli") else "redis-cli is not installed")

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{server.port}" for server in self.servers[:3])
        return f"redis+cluster://{hosts}"

    def masters(self) -> list[RedisServer]:
        """Those who take writes now."""
        return [server for server in self.servers if _leads(server)]

    def form(self) -> None:
        hosts = [f"127.0.0.1:{server.port}" for server in self.servers]
        create = ["redis-cli", "--cluster", "create", *hosts, "--cluster-replicas", "1", "--cluster-yes"]
        subprocess.run(create, check=True, capture_output=True, timeout=FORMS_WITHIN_S)

    def settle(self) -> None:
        _until(lambda: all(b"cluster_state:ok" in server.ask(b"CLUSTER INFO\r\n") for server in self.servers))
        _until(lambda: sum(_follows(server) for server in self.servers) == 3)

    def reset(self) -> None:
        """Empties it."""
        for server in self.masters():
            server.reset()


class RedisSentinelServers(_Fleet):
    """A master, a replica, and three sentinels."""

    def __init__(self) -> None:
        self.first = RedisServer()
        self.replica = Replica(self.first)
        self.sentinels = [Sentinel(self.first, quorum=2) for _ in range(3)]
        self.servers = [self.first, self.replica, *self.sentinels]

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{server.port}" for server in self.sentinels)
        return f"redis+sentinel://{hosts}/{MASTER_NAME}"

    @property
    def bare_url(self) -> str:
        """The sentinels' user may ask who is master, and nothing else."""
        name, _, password = LOGIN.partition(":")
        return f"{with_login(self.url)}?sentinel_username={name}&sentinel_password={password}"

    def master(self) -> RedisServer:
        """The one whom the sentinels have take writes now."""
        answer = self.sentinels[0].ask(f"SENTINEL GET-MASTER-ADDR-BY-NAME {MASTER_NAME}\r\n".encode())
        return next(server for server in (self.first, self.replica) if f"\r\n{server.port}\r\n".encode() in answer)

    def pause(self) -> None:
        """Those with data become a black hole. The sentinels don't: after it they would do nothing for 30 s (TILT)."""
        for server in (self.first, self.replica):
            server.pause()

    def settle(self) -> None:
        _until(lambda: _leads(self.master()))
        master = self.master()
        for server in (self.first, self.replica):
            # The sentinels do this to a master that comes back, too, but take their time.
            if server is not master and not _follows(server):
                server.ask(f"REPLICAOF 127.0.0.1 {master.port}\r\n".encode())
                _until(lambda follower=server: _follows(follower))
        _until(lambda: all(self._knows_all(sentinel) for sentinel in self.sentinels))

    def reset(self) -> None:
        """Empties it."""
        self.master().reset()

    def _knows_all(self, sentinel: RedisServer) -> bool:
        info = sentinel.ask(b"INFO sentinel\r\n")
        return b"status=ok" in info and b"slaves=1,sentinels=3" in info


def _follows(server: RedisServer) -> bool:
    return b"master_link_status:up" in server.ask(b"INFO replication\r\n")


def _leads(server: RedisServer) -> bool:
    try:
        return b"role:master" in server.ask(b"INFO replication\r\n")
    except ConnectionError:
        return False


def _until(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + FORMS_WITHIN_S
    while not condition():
        if time.monotonic() > until:
            raise RuntimeError("the servers do not find each other")
        time.sleep(0.02)
