"""The SQL that the store runs, one file a statement."""

import importlib.resources
from typing import Final, NamedTuple

PACKAGE: Final = "fungible.stores.postgresql"


class Statements(NamedTuple):
    """Each field is the text of the file of its name."""

    get: str
    put_any: str
    put_absent: str
    put_expected: str
    change: str
    touch: str
    delete: str
    bury: str
    take: str
    append: str
    since: str
    ping: str
    hidden: str
    distributed: str
    create_versions: str


def load_statements() -> Statements:
    """Reads the files, without their comments."""
    folder = importlib.resources.files(PACKAGE).joinpath("statements")
    texts = (folder.joinpath(f"{name}.sql").read_text(encoding="utf-8") for name in Statements._fields)
    return Statements(*("\n".join(line for line in text.splitlines() if not line.startswith("--")) for text in texts))
