"""Galera: two MariaDB servers that both take writes, each of them for both."""

import shutil
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from servers.mariadb import MariaDBServer
from servers.ports import free_port

PROVIDERS = ("/usr/lib/galera/libgalera_smm.so", "/usr/lib64/galera-4/libgalera_smm.so")
FORMS_WITHIN_S = 60
WAIT_FOR_ALL = 15
"""`wsrep_sync_wait` of a statement that sees what was written through the other node, whatever the statement is."""


class GaleraNode(MariaDBServer):
    """One node. It begins a cluster, or joins another node and gets its data from there."""

    def __init__(self, joins: "GaleraNode | None" = None) -> None:
        super().__init__()
        self.joins = joins
        self.group_port, self.increments_port, self.transfer_port = free_port(), free_port(), free_port()

    @classmethod
    def provider(cls) -> Path | None:
        """The library that replicates, where it is installed."""
        return next((Path(path) for path in PROVIDERS if Path(path).exists()), None)

    @classmethod
    def missing(cls) -> str | None:
        if problem := super().missing():
            return problem
        if cls.provider() is None:
            return "galera-4 is not installed"
        return None if shutil.which("rsync") else "rsync is not installed, by which a Galera node gets its data"

    def prepare(self) -> None:
        if self.joins is None:
            super().prepare()
            return
        self.data.mkdir()
        self._give_away(self.data)
        self.write("init.sql", "")

    def command(self) -> list[str]:
        options = {
            "base_host": "127.0.0.1",
            "base_port": str(self.group_port),
            "gmcast.listen_addr": f"tcp://127.0.0.1:{self.group_port}",
            "ist.recv_addr": f"127.0.0.1:{self.increments_port}",
            "gcache.size": "8M",
            # Of two nodes on one machine the one that is left goes on: nothing can cut them in two.
            "pc.ignore_sb": "true",
        }
        return [
            *super().command(),
            *("--wsrep-on=ON", f"--wsrep-provider={self.provider()}", "--wsrep-cluster-name=fungible"),
            f"--wsrep-cluster-address=gcomm://{f'127.0.0.1:{self.joins.group_port}' if self.joins else ''}",
            *("--wsrep-node-address=127.0.0.1", f"--wsrep-node-name=node-{self.port}", "--wsrep-slave-threads=2"),
            *("--wsrep-sst-method=rsync", f"--wsrep-sst-receive-address=127.0.0.1:{self.transfer_port}"),
            f"--wsrep-provider-options={';'.join(f'{name}={value}' for name, value in options.items())}",
            *("--binlog-format=ROW", "--innodb-autoinc-lock-mode=2"),
        ]

    def ready(self) -> bool:
        return super().ready() and self.state("wsrep_ready") == "ON" and self.state("wsrep_local_state") == "4"

    def state(self, name: str) -> str:
        """What it says of itself: `wsrep_cluster_size`. Empty where it does not answer."""
        try:
            return self.run_sql(f"SHOW STATUS LIKE '{name}'").partition("\t")[2]
        except RuntimeError:
            return ""

    def settle(self) -> None:
        """Waits until it has what was written through the other one before."""
        self.run_sql(f"SET SESSION wsrep_sync_wait = {WAIT_FOR_ALL}; SELECT 'settled'")


class GaleraServers:
    """Two nodes of one cluster."""

    def __init__(self) -> None:
        self.first = GaleraNode()
        self.second = GaleraNode(joins=self.first)
        self.servers = [self.first, self.second]

    @classmethod
    def missing(cls) -> str | None:
        """Why it can't run here, or None."""
        return GaleraNode.missing()

    def __enter__(self) -> Self:
        with ExitStack() as started:
            for node in self.servers:
                started.enter_context(node)
            self.settle()
            self._started = started.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._started.close()

    @property
    def url(self) -> str:
        """By way of the first node."""
        return self.first.url

    def run_sql(self, sql: str) -> str:
        """Runs SQL on the first node, by what was written through either; what it has changed is seen on both then."""
        self.first.settle()
        rows = self.first.run_sql(sql)
        self.second.settle()
        return rows

    def reset(self) -> None:
        """Empties it."""
        self.first.settle()
        self.first.reset()
        self.second.settle()

    def revive(self) -> None:
        """Makes both of them run, whatever a test has done to them."""
        for node in self.servers:
            node.revive()
        self.settle()

    def settle(self) -> None:
        """Waits until both are one cluster."""
        until = time.monotonic() + FORMS_WITHIN_S
        while any(node.state("wsrep_cluster_size") != "2" or not node.ready() for node in self.servers):
            if time.monotonic() > until:
                raise RuntimeError("the nodes do not find each other")
            time.sleep(0.02)

    def connections(self) -> int:
        """How many connections both have now."""
        return sum(node.connections() for node in self.servers)
