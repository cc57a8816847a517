"""MariaDB."""

import os
import shutil
from pathlib import Path

from servers.server import Server, run_as_ordinary_user
from servers.sql_client import SQLClient

USER, PASSWORD, DATABASE = "fungible", "open-sesame", "fungible"
HANDSHAKE = 10
"""The first byte of the packet by which the server greets, after the packet's length and number."""


class MariaDBServer(Server):
    """One MariaDB. It does not wait for the disk: a killed process loses nothing, a power cut would."""

    name = "mariadbd"
    _client: SQLClient | None = None

    @classmethod
    def missing(cls) -> str | None:
        tools = [name for name in ("mariadb-install-db", "mariadb") if shutil.which(name) is None]
        return super().missing() or (f"{tools[0]} is not installed" if tools else None)

    @property
    def url(self) -> str:
        return f"mysql://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{DATABASE}"

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def prepare(self) -> None:
        run_as_ordinary_user(
            [
                *("mariadb-install-db", "--no-defaults", f"--datadir={self.data}", f"--tmpdir={self.folder}"),
                *("--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"),
                *("--innodb-log-file-size=8M", "--innodb-flush-method=nosync"),
            ]
        )
        self.write(
            "init.sql",
            f"CREATE DATABASE IF NOT EXISTS {DATABASE};\n"
            f"CREATE USER IF NOT EXISTS '{USER}'@'127.0.0.1' IDENTIFIED BY '{PASSWORD}';\n"
            f"GRANT ALL ON *.* TO '{USER}'@'127.0.0.1' WITH GRANT OPTION;\n",
        )

    def command(self) -> list[str]:
        return [
            *(
                str(self.binary()),
                "--no-defaults",
                f"--datadir={self.data}",
                f"--tmpdir={self.folder}",
                f"--init-file={self.folder}/init.sql",
            ),
            *("--bind-address=127.0.0.1", f"--port={self.port}", f"--socket={self.folder}/socket"),
            *(f"--pid-file={self.folder}/pid", "--skip-name-resolve", "--performance-schema=off"),
            *("--innodb-flush-method=nosync", "--innodb-buffer-pool-size=32M", "--innodb-log-file-size=8M"),
            # As the default is, except that the log is not synchronised: that setting is above.
            "--innodb-flush-log-at-trx-commit=1",
        ]

    def ready(self) -> bool:
        return self.ask(b"")[4:5] == bytes([HANDSHAKE])

    def run_sql(self, sql: str) -> str:
        """Runs SQL, each statement a transaction; gives the rows as text."""
        if self._client is None or self._client.ended:
            self._client = self._connect()
        return self._client.run(sql)

    def connections(self) -> int:
        return super().connections() - (self._client is not None and not self._client.ended)

    def kill(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None
        super().kill()

    def reset(self) -> None:
        # Connections that are open lose their database, as after a restart: stores open theirs anew.
        self.run_sql(f"DROP DATABASE {DATABASE}; CREATE DATABASE {DATABASE}; USE {DATABASE}")

    def _connect(self) -> SQLClient:
        command = ["mariadb", "--no-defaults", "--protocol=tcp", "--host=127.0.0.1", f"--port={self.port}"]
        command += [f"--user={USER}", "--batch", "--skip-column-names", "--unbuffered", DATABASE]
        return SQLClient(command, env={**os.environ, "MYSQL_PWD": PASSWORD})
