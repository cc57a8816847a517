"""The structured fields that are spoken here: strings and byte sequences, read and written.

Source: RFC 9651, sections 3.3.3 (strings), 3.3.5 (byte sequences), 4.1.6, 4.1.8 and 4.2.5.
"""

from __future__ import annotations

import re
from typing import Final

STRING: Final = re.compile(r'"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"')
PARAMETERS: Final = re.compile(
    r'(?:; *[a-z*][a-z0-9_.*-]*(?:=(?:"(?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*"|:[A-Za-z0-9+/=]*:|[^\s";,=]+))?)*'
)
ESCAPED: Final = re.compile(r'\\(["\\])')


def parse_string(text: str) -> str | None:
    """The string of an item that is one; None for anything else. Parameters are passed over."""
    text = text.strip(" ")
    found = STRING.match(text)
    if found is None or PARAMETERS.fullmatch(text, found.end()) is None:
        return None
    return ESCAPED.sub(r"\1", found[1])


def string(text: str) -> str:
    """A string as it is written: `"…"`.

    Raises:
        ValueError: it has characters that a structured field can't hold (RFC 9651 section 4.1.6).
    """
    if not text.isascii() or not text.isprintable():
        raise ValueError(f"a structured field's string holds printable ASCII alone: {text!r}")
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
