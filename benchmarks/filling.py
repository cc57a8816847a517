"""Fills a home with sessions, and tells what they take there.

One real session is copied within the store, under new keys of the same length: so all have the size and the form that
the store gives them, and a million of them is a matter of seconds. Keys are spread as digests are; times of expiry
follow each other, as those of sessions do that began one after the other.
"""

import hashlib
import socket
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import BinaryIO
from urllib.parse import unquote_to_bytes

from benchmarks.servers import Home

TABLE = "fungible_records"
BATCH = 10_000
_SCRIPT = """
local length = #KEYS[1] - #'session:'
for i = tonumber(ARGV[2]), tonumber(ARGV[3]) do
  local digest = redis.sha1hex(i) .. redis.sha1hex(-i)
  redis.call('COPY', KEYS[1], ARGV[1] .. string.sub(digest, 1, length))
end
"""


def fill(home: Home, first: int, last: int) -> None:
    """Adds copies of a session that is there, numbered `first` to `last`: numbers must differ from one call to the next."""
    _FILLERS[home.store](home, first, last)


def size_bytes(home: Home) -> int:
    """What the home takes, by its own account."""
    return _SIZES[home.store](home)


def _fill_redis(home: Home, first: int, last: int) -> None:
    with closing(_redis(home)) as client:
        source = next(client.scan_iter(match="*session:*", count=1000)).decode()
        prefix = source[: source.index("session:") + len("session:")]
        script = client.register_script(_SCRIPT)
        for start in range(first, last + 1, BATCH):
            script(keys=[source], args=[prefix, start, min(start + BATCH - 1, last)])


def _size_redis(home: Home) -> int:
    with closing(_redis(home)) as client:
        return client.info("memory")["used_memory"]


def _redis(home: Home):
    from redis import Redis

    return Redis.from_url(home.url)


def _fill_postgresql(home: Home, first: int, last: int) -> None:
    columns = home.server.run_sql(
        f"select column_name from information_schema.columns where table_name = '{TABLE}'"
    ).splitlines()
    chosen = _chosen(columns, "'session:' || left(md5(i::text) || md5((-i)::text), 43)")
    home.server.run_sql(
        f"insert into {TABLE} ({', '.join(columns)}) select {chosen} from"
        f" (select * from {TABLE} where key like 'session:%' limit 1) one, generate_series({first}, {last}) i"
    )
    home.server.run_sql(f"vacuum analyze {TABLE}")


def _size_postgresql(home: Home) -> int:
    return int(home.server.run_sql(f"select pg_total_relation_size('{TABLE}')"))


def _fill_mysql(home: Home, first: int, last: int) -> None:
    columns = home.server.run_sql(
        f"select column_name from information_schema.columns where table_name = '{TABLE}' order by ordinal_position"
    ).splitlines()
    chosen = _chosen(columns, "concat('session:', left(sha2(i, 256), 43))")
    for start in range(first, last + 1, BATCH):
        home.server.run_sql(
            f"insert into {TABLE} ({', '.join(columns)}) select {chosen} from"
            f" (select * from {TABLE} where record_key like 'session:%' limit 1) one,"
            f" (select seq i from seq_{start}_to_{min(start + BATCH - 1, last)}) numbers"
        )


def _size_mysql(home: Home) -> int:
    home.server.run_sql(f"analyze table {TABLE}")
    return int(
        home.server.run_sql(
            f"select data_length + index_length from information_schema.tables where table_name = '{TABLE}'"
        )
    )


def _chosen(columns: list[str], key: str) -> str:
    """What is selected for each column: a new key, a later time, the rest as it is."""

    def one(column: str) -> str:
        if column.endswith("key"):
            return key
        return f"{column} + i" if column.startswith(("expires", "sweep")) else column

    return ", ".join(map(one, columns))


def _fill_sqlite(home: Home, first: int, last: int) -> None:
    with closing(sqlite3.connect(str(home.file), timeout=60)) as db, db:
        names = [row[1] for row in db.execute(f"pragma table_info({TABLE})")]
        row = db.execute(f"select * from {TABLE} where key like 'session:%' limit 1").fetchone()
        db.executemany(
            f"insert into {TABLE} values ({', '.join('?' * len(names))})",
            (
                [_later(name, value, number) for name, value in zip(names, row, strict=True)]
                for number in range(first, last + 1)
            ),
        )


def _later(column: str, value: object, number: int) -> object:
    if column == "key":
        return f"session:{hashlib.sha256(str(number).encode()).hexdigest()[:43]}"
    return value + number / 1e6 if column.startswith("expires") and isinstance(value, float) else value


def _size_sqlite(home: Home) -> int:
    with closing(sqlite3.connect(str(home.file), timeout=60)) as db:
        db.execute("pragma wal_checkpoint(truncate)")
    assert home.file is not None
    return home.file.stat().st_size


def _fill_memcached(home: Home, first: int, last: int) -> None:
    with _memcached(home) as (connection, lines):
        connection.sendall(b"lru_crawler metadump all\r\n")
        # key=...%3A... exp=...: of all keys, those of sessions. They are quoted as in URLs.
        keys = [unquote_to_bytes(line.split()[0].removeprefix(b"key=")) for line in _until_end(lines)]
        key = next(key for key in keys if b"session" in key)
        connection.sendall(b"get %b\r\n" % key)
        _, _, flags, length = lines.readline().split()
        value = lines.read(int(length))
        for start in range(first, last + 1, BATCH):
            numbers = range(start, min(start + BATCH, last + 1))
            connection.sendall(b"".join(_memcached_set(key, number, flags, value) for number in numbers))
        # What is answered after them shows that all have been taken.
        connection.sendall(b"version\r\n")
        while not lines.readline().startswith(b"VERSION"):
            pass


def _memcached_set(key: bytes, number: int, flags: bytes, value: bytes) -> bytes:
    copy = hashlib.sha512(str(number).encode()).hexdigest().encode()[: len(key)]
    return b"set %b %b 0 %d noreply\r\n%b\r\n" % (copy, flags, len(value), value)


def _size_memcached(home: Home) -> int:
    with _memcached(home) as (connection, lines):
        connection.sendall(b"stats\r\n")
        stats = dict(line.split()[1:3] for line in _until_end(lines))
    return int(stats[b"bytes"])


@contextmanager
def _memcached(home: Home) -> Iterator[tuple[socket.socket, BinaryIO]]:
    address = ("127.0.0.1", home.server.port)
    with socket.create_connection(address, timeout=60) as connection, connection.makefile("rb") as lines:
        yield connection, lines


def _until_end(lines: BinaryIO) -> Iterator[bytes]:
    return iter(lambda: lines.readline().rstrip(), b"END")


_FILLERS: dict[str, Callable[[Home, int, int], None]] = {
    "redis": _fill_redis,
    "postgresql": _fill_postgresql,
    "mysql": _fill_mysql,
    "sqlite": _fill_sqlite,
    "memcached": _fill_memcached,
}
_SIZES: dict[str, Callable[[Home], int]] = {
    "redis": _size_redis,
    "postgresql": _size_postgresql,
    "mysql": _size_mysql,
    "sqlite": _size_sqlite,
    "memcached": _size_memcached,
}
