"""Records that hold secrets, shown without them: in logs, in tracebacks, in a debugger."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import ClassVar, Final, cast


class _Hidden:
    def __repr__(self) -> str:
        return "***"


HIDDEN: Final = _Hidden()


class Redacted:
    """What a `Struct` inherits from, before `Struct`, so that its repr leaves secrets out.

    Whether there is one is still seen: None and what is empty stay as they are.
    """

    __slots__ = ()
    _hidden: ClassVar[Collection[str]] = ()
    """The fields that are not shown."""

    def __repr__(self) -> str:
        return redacted(self, *self._hidden)

    def __rich_repr__(self) -> Iterator[tuple[str, object]]:
        # Rich shows a Struct by this, in its tracebacks too.
        return _shown(self, self._hidden)


def redacted(record: object, *secrets: str) -> str:
    """The repr of a `Struct` or a named tuple without the fields that are secret.

    >>> from typing import NamedTuple
    >>> class Login(NamedTuple):
    ...     user: str
    ...     password: str
    >>> redacted(Login("ada", "lovelace"), "password")
    "Login(user='ada', password=***)"
    """
    shown = ", ".join(f"{name}={value!r}" for name, value in _shown(record, secrets))
    return f"{type(record).__qualname__}({shown})"


def _shown(record: object, secrets: Collection[str]) -> Iterator[tuple[str, object]]:
    kind = type(record)
    names = cast(tuple[str, ...], getattr(kind, "__struct_fields__", None) or getattr(kind, "_fields", ()))
    for name in names:
        value: object = getattr(record, name)
        yield name, HIDDEN if name in secrets and value else value
