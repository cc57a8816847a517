"""The SQL that the store runs, one file a statement."""

import importlib.resources
from functools import cache
from typing import Final, NamedTuple

PACKAGE: Final = "fungible.stores.mysql"

# Unix microseconds. UTC_TIMESTAMP is when the statement began, the same throughout it: expressions that must agree with
# one another use it. SYSDATE is read anew where it stands: what waited for a row's lock does not act at an old time.
# (Written by rows to the binary log, as READ COMMITTED demands, both are safe to replicate.)
NOW_US: Final = "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))"
MOMENT_US: Final = "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', SYSDATE(6))"


class Statements(NamedTuple):
    """Each field is the text of the file of its name."""

    get: str
    current: str
    put_absent: str
    put_any: str
    expiry: str
    write: str
    touch: str
    delete: str
    bury: str
    take: str
    number: str
    append: str
    since: str


@cache
def load_statements() -> Statements:
    """Reads the files, without their comments, with the clocks put in."""
    folder = importlib.resources.files(PACKAGE).joinpath("statements")
    return Statements(
        *(expanded(folder.joinpath(f"{name}.sql").read_text(encoding="utf-8")) for name in Statements._fields)
    )


def expanded(text: str) -> str:
    """SQL without comment lines, with `now_us()` and `moment_us()` as the expressions that they stand for."""
    kept = "\n".join(line for line in text.splitlines() if not line.startswith("--"))
    return kept.replace("now_us()", NOW_US).replace("moment_us()", MOMENT_US)
