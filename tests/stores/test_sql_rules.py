"""What no SQL of ours may do, so that it means the same on every engine that speaks the protocol, and at every node."""

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import fungible

SOURCE = Path(fungible.__file__).parent
STARTS = re.compile(
    r"\s*(WITH|SELECT|INSERT|UPDATE|DELETE|SET|CREATE|ALTER|DROP|SHOW|START|BEGIN|COMMIT|SAVEPOINT|ROLLBACK|LOCK)\s"
)
COMMENT = re.compile(r"^\s*--.*$", re.MULTILINE)
STATEMENT = re.compile(r";[ \t]*$", re.MULTILINE)
CHANGE = re.compile(
    r"\b(?:INSERT\s+(?:IGNORE\s+)?INTO|DELETE\s+FROM|(?<!DO )(?<!KEY )(?<!FOR )UPDATE(?!\s+(?:SET|SKIP|NOWAIT)\b))\s+"
    r"(\{?\w+\}?)"
)
FORBIDDEN = {
    # A place in a file of PostgreSQL's, and nothing elsewhere (YugabyteDB, CockroachDB): rows have keys.
    "ctid": re.compile(r"\bctid\b", re.IGNORECASE),
    # Poolers hand a session to somebody else after each transaction; some engines give such locks to everybody.
    "a lock of a session": re.compile(
        r"\bpg_(?:try_)?advisory_(?:un)?lock|\bGET_LOCK\b|\bRELEASE_LOCK\b|\bLOCK TABLES?\b", re.IGNORECASE
    ),
    # Not in the order of commits, nor without gaps, on engines of several nodes.
    "a sequence": re.compile(
        r"\b(?:BIG|SMALL)?SERIAL\b|\bAUTO_?INCREMENT\b|\bCREATE SEQUENCE\b|\bnextval\b|\bAS IDENTITY\b", re.IGNORECASE
    ),
}
ALLOWED = {
    # A courtesy among those who start at once at one node: the key of fungible_migrations decides.
    ("stores/mysql/migrating.py", "a lock of a session"),
}
ADVISORY = {
    # Under each of these a unique key decides: fungible_migrations' or fungible_idempotency's, and IF NOT EXISTS.
    "stores/postgresql/tables.py",
    "idempotency/sql/claim_postgresql.sql",
    "idempotency/sql/statements.py",
}


def statements() -> Iterator[tuple[str, str]]:
    """Every statement for a server, with the file where it stands, below `src/fungible`."""
    for path in sorted(SOURCE.rglob("*")):
        where = path.relative_to(SOURCE).as_posix()
        # SQLite is one file of one machine.
        if "sqlite" in where or path.suffix not in {".sql", ".py"}:
            continue
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".py":
            for found in strings(ast.parse(text)):
                yield where, found
        elif "migrations" in where or path.name.startswith("create_"):
            # Read and run statement by statement.
            yield from ((where, part) for part in STATEMENT.split(COMMENT.sub("", text)) if part.strip())
        else:
            yield where, COMMENT.sub("", text)


def strings(tree: ast.AST) -> Iterator[str]:
    """The strings in a module that are SQL; what is filled in stands as `{}`."""
    inner = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = (str(part.value) if isinstance(part, ast.Constant) else "{}" for part in node.values)
            text = "".join(parts)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inner:
            text = node.value
        else:
            continue
        if STARTS.match(text):
            yield text


def faults(statement: str) -> set[str]:
    """The rules that a statement breaks."""
    found = {name for name, pattern in FORBIDDEN.items() if pattern.search(statement)}
    # PostgreSQL does not say which of two changes of a row it makes; CockroachDB and YugabyteDB refuse them.
    if any(count > 1 for count in Counter(CHANGE.findall(statement)).values()):
        found.add("two changes of a table")
    # What follows a statement whose transaction the server has given up is carried out all the same (Galera).
    if ";" in statement.strip().rstrip(";"):
        found.add("two statements at once")
    return found


@pytest.mark.parametrize(
    ("statement", "broken"),
    [
        ("SELECT ctid FROM t", {"ctid"}),
        ("WITH a AS (DELETE FROM t WHERE x), b AS (UPDATE t SET y = 1) SELECT 1", {"two changes of a table"}),
        ("WITH a AS (INSERT INTO t VALUES (1) RETURNING 1) INSERT INTO u SELECT 1 FROM a", set()),
        ("INSERT INTO t AS r VALUES (1) ON CONFLICT (x) DO UPDATE SET x = 1", set()),
        ("INSERT INTO t VALUES (1) ON DUPLICATE KEY UPDATE t = 1", set()),
        ("DELETE FROM t WHERE x IN (SELECT x FROM t FOR UPDATE SKIP LOCKED)", set()),
        ("SELECT pg_advisory_lock(1)", {"a lock of a session"}),
        ("SELECT pg_try_advisory_lock(1)", {"a lock of a session"}),
        ("SELECT pg_advisory_xact_lock(1)", set()),
        ("SELECT GET_LOCK('a', 1)", {"a lock of a session"}),
        ("CREATE TABLE t (id BIGSERIAL)", {"a sequence"}),
        ("CREATE TABLE t (id BIGINT AUTO_INCREMENT)", {"a sequence"}),
        ("START TRANSACTION; INSERT INTO t VALUES (1);", {"two statements at once"}),
    ],
)
def test_a_statement_that_breaks_a_rule_is_found(statement: str, broken: set[str]) -> None:
    assert faults(statement) == broken


def test_no_statement_breaks_a_rule() -> None:
    seen = list(statements())
    # The stores', and those of transactional idempotency.
    assert len(seen) > 60
    broken = {(where, fault) for where, statement in seen for fault in faults(statement)}
    assert broken == ALLOWED


def test_a_lock_is_a_transactions_and_never_the_only_guard() -> None:
    assert {where for where, statement in statements() if "advisory" in statement} == ADVISORY
