"""The Lua scripts that are the store's writes: each one atomic step, by the server's clock."""

import hashlib
import importlib.resources
from typing import NamedTuple


class Script(NamedTuple):
    """A script, and the digest by which a server that has seen it knows it."""

    text: bytes
    sha1: str


class Scripts(NamedTuple):
    """One for each verb."""

    put: Script
    change: Script
    touch: Script
    delete: Script
    take: Script
    append: Script
    since: Script
    check: Script


def load_scripts() -> Scripts:
    """Reads the `.lua` files beside this module."""
    folder = importlib.resources.files(__package__ or "")
    texts = ((folder / f"{name}.lua").read_bytes() for name in Scripts._fields)
    # The digest is a name that Redis prescribes, and protects nothing.
    return Scripts(*(Script(text, hashlib.sha1(text, usedforsecurity=False).hexdigest()) for text in texts))
