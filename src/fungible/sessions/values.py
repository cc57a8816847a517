"""A session's values as bytes, and how two looks at one value are compared."""

import marshal
from typing import Any, cast

from fungible.core.codec import encode
from fungible.sessions.state import name_of
from fungible.stores.contract import REMOVED, Changes, Fields


def become(mine: Any, value: Any) -> Any:
    """The merged value in the very lists and dicts that the application may still hold and change."""
    if isinstance(mine, list) and isinstance(value, list):
        mine[:] = value
        return cast(Any, mine)
    if isinstance(mine, dict) and isinstance(value, dict):
        held = cast(dict[str, Any], mine)
        merged = {
            key: become(held[key], inner) if key in held else inner
            for key, inner in cast(dict[str, Any], value).items()
        }
        held.clear()
        held.update(merged)
        return held
    return value


def look_of(value: object) -> bytes | None:
    """Bytes by which a nested value is compared with itself later: quicker than encoding it. None if it has no such.

    Marshal tells 1, 1.0 and True apart, and takes no other types than the built-in ones; in its version 0 equal values
    give equal bytes. It is written only, and never read.
    """
    try:
        return marshal.dumps(cast(Any, value), 0)
    except ValueError:
        return None


def encode_field(key: str, value: object) -> bytes:
    """A value's bytes.

    Raises:
        TypeError: it can't be kept; the message names the key.
    """
    try:
        return encode(value)
    except (TypeError, UnicodeEncodeError) as error:
        raise TypeError(f"session[{name_of(key) or key!r}]: {error}") from None


def apply(fields: Fields, changes: Changes) -> dict[str, bytes]:
    """Fields with changes made to them."""
    result = {name: value for name, value in fields.items() if name not in changes}
    result.update((name, value) for name, value in changes.items() if value is not REMOVED)
    return result
