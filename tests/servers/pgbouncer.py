"""PgBouncer in transaction mode: before a PostgreSQL that is given."""

from servers.postgresql import DATABASE, PASSWORD, USER, PostgreSQLServer
from servers.server import Server


class PgBouncer(Server):
    """A pooler that gives each transaction whichever of its few connections is free."""

    name = "pgbouncer"

    def __init__(self, server: PostgreSQLServer, *, connections: int = 3) -> None:
        super().__init__()
        self._server = server
        self._connections = connections

    @property
    def url(self) -> str:
        return f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{DATABASE}"

    def prepare(self) -> None:
        users = self.write("users.txt", f'"{USER}" "{PASSWORD}"\n')
        self.write(
            "pgbouncer.ini",
            f"""\
[databases]
{DATABASE} = host=127.0.0.1 port={self._server.port}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {self.port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {users}
pool_mode = transaction
default_pool_size = {self._connections}
""",
        )

    def command(self) -> list[str]:
        return [str(self.binary()), str(self.folder / "pgbouncer.ini")]

    def ready(self) -> bool:
        return bool(self.ask(b"\0\0\0\x08\x04\xd2\x16\x2f"))  # an SSLRequest: answered by one letter

    def reset(self) -> None:
        self._server.reset()
