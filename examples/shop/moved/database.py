"""Products and orders, in an SQLite file that all instances on this machine share."""

import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from fungible.idempotency import create_table_sql

from state import DATA

PRODUCTS = (
    (1, "Enamel mug", "Keeps coffee hot and camping trips cheerful.", 1200),
    (2, "Linen notebook", "Ninety-six dotted pages that lie flat.", 850),
    (3, "Beech pencils", "A box of six, soft enough to sketch with.", 625),
    (4, "Canvas tote", "Carries a week of groceries, or a small dog.", 1800),
    (5, "Wool blanket", "Woven thick, for the last evening outside.", 5900),
    (6, "Brass lamp", "Warm light for a desk that works late.", 7400),
)

TABLES = """
create table if not exists products (id integer primary key, name text, about text, cents integer);
create table if not exists orders (
    reference text primary key, code text, customer text, product integer, quantity integer, cents integer
);
create table if not exists identity (one integer primary key, id text);
"""


FILE = DATA / "shop.db"


@contextmanager
def connection() -> Iterator[sqlite3.Connection]:
    """A connection whose changes are kept if the block ends well, and are undone if it does not."""
    db = sqlite3.connect(FILE, timeout=5)
    db.row_factory = sqlite3.Row
    try:
        with db:
            yield db
    finally:
        db.close()


def create_and_fill() -> None:
    """Makes the tables and the products where they are missing."""
    with connection() as db:
        db.executescript(TABLES)
        db.executescript(create_table_sql("sqlite"))
        db.execute("insert or ignore into identity values (1, ?)", (secrets.token_hex(8),))
        db.executemany("insert or ignore into products values (?, ?, ?, ?)", PRODUCTS)


@cache
def database_id() -> str:
    """What tells this database from a new one, a copy, or a backup that was put in its place.

    What is remembered of one must not be shown for the other. A new one has another row, a copy another inode.
    """
    with connection() as db:
        return f"{db.execute('select id from identity').fetchone()['id']}-{FILE.stat().st_ino}"
