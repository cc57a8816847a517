"""The `Idempotency-Key` field: quoted or bare, the same key is the same key.

Source: draft-ietf-httpapi-idempotency-key-header-07, section 2.1 (a string of RFC 9651). Clients in the field send it
bare, so that is read, too.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from fungible.core.asgi import Header
from fungible.core.structured import parse_string
from fungible.idempotency.errors import InvalidKeyError

FIELD: Final = b"idempotency-key"
MAX_CHARACTERS: Final = 255


def key_in(headers: Iterable[Header]) -> str | None:
    """The key of a request; None where it has none.

    Raises:
        InvalidKeyError: there are several, or it is none.
    """
    found: bytes | None = None
    for name, value in headers:
        if name == FIELD:
            if found is not None:
                raise InvalidKeyError("there is more than one Idempotency-Key in this request: send one")
            found = value
    return None if found is None else parse_key(found.decode("latin-1"))


def parse_key(text: str) -> str:
    """The key that a field's value stands for: `"k"` and `k` are one.

    Raises:
        InvalidKeyError: it is empty, longer than 255 characters, or has other characters than printable ASCII.
    >>> parse_key('"8e03978e-40d5"') == parse_key("8e03978e-40d5")
    True
    """
    text = text.strip(" \t")
    key = text
    if text.startswith('"'):
        string = parse_string(text)
        if string is None:
            raise InvalidKeyError('the Idempotency-Key begins with a quote, and is no string such as "8e03978e-40d5"')
        key = string
    if not key:
        raise InvalidKeyError("the Idempotency-Key is empty: send a new random value, such as a UUID")
    if len(key) > MAX_CHARACTERS:
        raise InvalidKeyError(f"the Idempotency-Key has {len(key)} characters, and may have {MAX_CHARACTERS}")
    if not (key.isascii() and key.isprintable()):
        raise InvalidKeyError("the Idempotency-Key has characters other than printable ASCII")
    return key
