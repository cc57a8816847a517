"""The mapping under a session: it knows what was changed in it, also inside of values."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from fungible.core.codec import decode
from fungible.sessions.errors import SessionConflict, SessionReadOnlyError
from fungible.sessions.merging import MISSING, Path, merge
from fungible.sessions.state import SessionState, field_of, name_of
from fungible.sessions.values import become, encode_field, look_of
from fungible.stores.contract import REMOVED, Fields, check_name

if TYPE_CHECKING:
    from fungible.sessions.contract import Sessions

# What can't change inside: such a value needs no look at the end of the request.
UNCHANGING: Final = frozenset({str, int, float, bool, bytes, type(None), datetime, Decimal, UUID})
KEPT: Final = (str, int, float, bytes, bytearray, type(None), dict, list, tuple, datetime, Decimal, UUID)


class TrackedValues(MutableMapping[str, Any]):
    """Values that are decoded when they are asked for, and compared with what was read when they are to be written."""

    __slots__ = (
        "_assigned",
        "_counters",
        "_looks",
        "_merged",
        "_plain",
        "_removed",
        "_sessions",
        "_state",
        "_values",
        "accessed",
        "read_only",
    )

    def __init__(self, sessions: Sessions, state: SessionState, *, read_only: str = "") -> None:
        self._sessions = sessions
        self._state = state
        self._values: dict[str, Any] = {}
        self._looks: dict[str, bytes | None] = {}
        self._assigned: set[str] = set()
        self._removed: set[str] = set()
        self._plain: set[str] = set()
        self._counters: set[Path] = set()
        self._merged: dict[str, Any] = {}
        self.accessed = False
        """Whether the application has looked: then the response depends on the cookie."""
        self.read_only = read_only
        """Why it can't be changed; empty where it can."""

    def __getitem__(self, key: str) -> Any:
        self.accessed = True
        field = field_of(key)
        values = self._values
        if field in values:
            return values[field]
        stored = self._state.fields.get(field)
        if stored is None or field in self._removed:
            raise KeyError(key)
        value = values[field] = decode(stored)
        if type(value) not in UNCHANGING:
            self._looks[field] = look_of(value)
        return value

    def __setitem__(self, key: str, value: Any) -> None:
        self._writable()
        if not isinstance(key, str):  # pyright: ignore[reportUnnecessaryIsInstance] - what untyped callers do
            raise TypeError(f"a session's keys are strings: {key!r} is of type {type(key).__name__!r}")
        if not isinstance(value, KEPT):
            # Told here, where the traceback shows the line; what is deeper inside is told when it is written.
            encode_field(key, value)
        self._put(key, value)
        self._plainly_set(key)

    def __delitem__(self, key: str) -> None:
        self._writable()
        field = field_of(key)
        if key not in self:
            raise KeyError(key)
        self._values.pop(field, None)
        self._assigned.discard(field)
        if field in self._state.fields:
            self._removed.add(field)
        self._plainly_set(key)

    def __contains__(self, key: object) -> bool:
        self.accessed = True
        if not isinstance(key, str):
            return False
        field = field_of(key)
        return field in self._values or (field in self._state.fields and field not in self._removed)

    def __iter__(self) -> Iterator[str]:
        self.accessed = True
        names = [name_of(field) for field in self._state.fields if field not in self._removed]
        names += [name_of(field) for field in self._values if field not in self._state.fields]
        return iter([name for name in names if name is not None])

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        # No values: they would end up in logs.
        return f"<Session with {', '.join(map(repr, self)) or 'nothing'}>"

    @property
    def state(self) -> SessionState:
        """Where it is kept, for those who keep it."""
        return self._state

    def follow_subject(self, key: str) -> None:
        """Takes the subject from a value, where the application has set or removed that value."""
        field = field_of(key)
        if field in self._assigned or field in self._removed:
            value = self._values.get(field)
            self.subject = None if value is None else str(value)

    def changed_since_written(self) -> bool:
        """Whether there is something to write."""
        return bool(self._removed or (self._values and self.changes()))

    def changes(self) -> dict[str, bytes | Any]:
        """The fields to write, by comparing what was touched with what was read.

        Raises:
            TypeError: a value can't be kept; the message names its key.
        """
        changes: dict[str, Any] = {}
        fields, assigned = self._state.fields, self._assigned
        for field, value in self._values.items():
            if field not in assigned and (type(value) in UNCHANGING or self._looks_the_same(field, value)):
                continue
            data = encode_field(field, value)
            if fields.get(field) != data:
                changes[field] = data
        for field in self._removed:
            changes[field] = REMOVED
        return changes

    def merged_with(self, current: Fields) -> dict[str, bytes | Any]:
        """The fields to write over `current`, which others have made of what this session read.

        Raises:
            SessionConflict: values can't be merged, and the application asked to be told.
        """
        changes: dict[str, Any] = {}
        overwritten: list[Path] = []
        base = self._state.fields
        for field in self.changes():
            name = name_of(field) or field
            outcome = merge(
                decode(base[field]) if field in base else MISSING,
                self._values.get(field, MISSING),
                decode(current[field]) if field in current else MISSING,
                path=(name,),
                counters=self._counters,
            )
            overwritten += outcome.overwritten
            self._merged[field] = outcome.value
            data: Any = REMOVED if outcome.value is MISSING else encode_field(field, outcome.value)
            if current.get(field, REMOVED) != data:
                changes[field] = data
        if overwritten:
            places = [".".join(path) for path in overwritten]
            if self._sessions.settings.conflicts == "raise":
                self.forget()
                raise SessionConflict(places=places)
            self._sessions.notice("overwritten", places=places)
        return changes

    def written(self, fields: Fields) -> None:
        """Goes on from what now is kept."""
        self._state.fields = fields
        self._looks.clear()
        for field, value in self._merged.items():
            mine = self._values.pop(field, None)
            if value is not MISSING:
                self._values[field] = become(mine, value)
        self._reset()

    def forget(self) -> None:
        """Drops what was changed and not written."""
        self._values.clear()
        self._looks.clear()
        self._reset()

    def _reset(self) -> None:
        self._assigned.clear()
        self._removed.clear()
        self._plain.clear()
        self._counters.clear()
        self._merged.clear()

    def _looks_the_same(self, field: str, value: object) -> bool:
        look = self._looks.get(field)
        return look is not None and look_of(value) == look

    def _put(self, key: str, value: Any) -> None:
        field = field_of(key)
        check_name(field, "session's key")
        self._values[field] = value
        self._assigned.add(field)
        self._removed.discard(field)

    def _plainly_set(self, key: str) -> None:
        self._plain.add(field_of(key))
        if self._counters:
            self._counters = {path for path in self._counters if path[0] != key}

    def _writable(self) -> None:
        self.accessed = True
        if self.read_only:
            raise SessionReadOnlyError(f"the session can't be changed {self.read_only}")
