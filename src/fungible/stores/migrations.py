"""Versioned SQL migrations: numbered `.sql` files beside the backend that runs them."""

import importlib.resources
import re
from typing import Final, NamedTuple, Protocol, runtime_checkable

# A statement ends with a semicolon at the end of a line, which no statement of ours has within.
STATEMENT: Final = re.compile(r";[ \t]*$", re.MULTILINE)
FILE: Final = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")
COMMENT: Final = re.compile(r"^\s*--.*$", re.MULTILINE)


class Migration(NamedTuple):
    """One step from a version of the tables to the next."""

    number: int
    """1 for the first, without gaps."""
    name: str
    statements: tuple[str, ...]


@runtime_checkable
class Migrating(Protocol):
    """A store whose backend has tables."""

    async def migrate(self) -> list[int]:
        """Applies the migrations that are missing, and gives their numbers. Safe when several instances start at once."""
        ...

    async def applied(self) -> int:
        """The number of the last migration that was applied; 0 where there are no tables."""
        ...

    async def aclose(self) -> None:
        """Closes the connections of this event loop."""
        ...


def load_migrations(package: str) -> tuple[Migration, ...]:
    """The migrations in a package's folder `migrations`, in order: `0001_records.sql`, `0002_….sql`.

    Args:
        package: The backend's package, such as `fungible.stores.postgresql`.
    Raises:
        RuntimeError: a file is misnamed, or a number is missing or there twice: a fault of this release.
    """
    found: list[Migration] = []
    for file in importlib.resources.files(package).joinpath("migrations").iterdir():
        if not file.name.endswith(".sql"):
            continue
        matched = FILE.fullmatch(file.name)
        if matched is None:
            raise RuntimeError(f"{package}: {file.name} is not named 0001_words.sql")
        text = COMMENT.sub("", file.read_text(encoding="utf-8"))
        statements = tuple(part.strip() for part in STATEMENT.split(text) if part.strip())
        found.append(Migration(int(matched[1]), matched[2], statements))
    found.sort()
    if [migration.number for migration in found] != list(range(1, len(found) + 1)):
        raise RuntimeError(f"{package}: the migrations are not numbered 1, 2, 3 without gaps")
    return tuple(found)
