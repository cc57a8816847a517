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


class Edits:
    """What a request has done to a session by name."""

    __slots__ = ("assigned", "counters", "merged", "plain", "removed")

    def __init__(self) -> None:
        self.assigned: set[str] = set()
        self.removed: set[str] = set()
        self.plain: set[str] = set()
        """Fields that were set or removed as a whole."""
        self.counters: set[Path] = set()
        """Numbers that were only added to."""
        self.merged: dict[str, Any] | None = None
        """What merging has made of values; None while nothing had to be merged."""


class TrackedValues(MutableMapping[str, Any]):
    """Values that are decoded when they are asked for, and compared with what was read when they are to be written."""

    # Most requests only look at one or two values: what they don't need is not made for them.
    _edits: Edits | None = None
    accessed = False
    """Whether the application has looked: then the response depends on the cookie."""
    read_only = ""
    """Why it can't be changed; empty where it can."""

    def __init__(self, sessions: Sessions, state: SessionState, *, read_only: str = "") -> None:
        self._sessions = sessions
        self._state = state
        self._values: dict[str, Any] = {}
        self._looks: dict[str, bytes | None] = {}
        if read_only:
            self.read_only = read_only

    def __getitem__(self, key: str) -> Any:
        value = self.get(key, MISSING)
        if value is MISSING:
            raise KeyError(key)
        return value

    def get(self, key: str, default: Any = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The value, or the default: without an exception within, as visitors without a session ask often."""
        self.accessed = True
        field = field_of(key)
        values = self._values
        if field in values:
            return values[field]
        stored = self._state.fields.get(field)
        if stored is None or self._is_removed(field):
            return default
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
        edits = self.edits
        edits.assigned.discard(field)
        if field in self._state.fields:
            edits.removed.add(field)
        self._plainly_set(key)

    def __contains__(self, key: object) -> bool:
        self.accessed = True
        if not isinstance(key, str):
            return False
        field = field_of(key)
        return field in self._values or (field in self._state.fields and not self._is_removed(field))

    def __iter__(self) -> Iterator[str]:
        self.accessed = True
        names = [name_of(field) for field in self._state.fields if not self._is_removed(field)]
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

    @property
    def edits(self) -> Edits:
        """What was done by name, for who adds to it."""
        if self._edits is None:
            self._edits = Edits()
        return self._edits

    @property
    def is_untouched(self) -> bool:
        """Whether there is no session and none is begun, as with most requests of visitors."""
        state = self._state
        return state.record is None and self._edits is None and not (state.rotation_due or state.ended)

    def follow_subject(self, key: str) -> None:
        """Takes the subject from a value, where the application has set or removed that value."""
        field = field_of(key)
        edits = self._edits
        if edits is not None and (field in edits.assigned or field in edits.removed):
            value = self._values.get(field)
            self.subject = None if value is None else str(value)

    def changed_since_written(self) -> bool:
        """Whether there is something to write."""
        return bool((self._values or self._edits is not None) and self.changes())

    def changes(self) -> dict[str, bytes | Any]:
        """The fields to write, by comparing what was touched with what was read.

        Raises:
            TypeError: a value can't be kept; the message names its key.
        """
        changes: dict[str, Any] = {}
        fields, edits = self._state.fields, self._edits
        assigned = () if edits is None else edits.assigned
        for field, value in self._values.items():
            if field not in assigned and (type(value) in UNCHANGING or self._looks_the_same(field, value)):
                continue
            data = encode_field(field, value)
            if fields.get(field) != data:
                changes[field] = data
        if edits is not None:
            changes.update(dict.fromkeys(edits.removed, REMOVED))
        return changes

    def merged_with(self, current: Fields) -> dict[str, bytes | Any]:
        """The fields to write over `current`, which others have made of what this session read.

        Raises:
            SessionConflict: values can't be merged, and the application asked to be told.
        """
        changes: dict[str, Any] = {}
        overwritten: list[Path] = []
        base, edits = self._state.fields, self.edits
        values = edits.merged = dict[str, Any]()
        for field in self.changes():
            name = name_of(field) or field
            outcome = merge(
                decode(base[field]) if field in base else MISSING,
                self._values.get(field, MISSING),
                decode(current[field]) if field in current else MISSING,
                path=(name,),
                counters=edits.counters,
            )
            overwritten += outcome.overwritten
            values[field] = outcome.value
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
        before, self._state.fields = self._state.fields, fields
        self._looks.clear()
        if self._edits is not None and self._edits.merged is not None:
            self._catch_up(before, fields, self._edits.merged)
        self._edits = None

    def _catch_up(self, before: Fields, fields: Fields, merged: dict[str, Any]) -> None:
        """Shows what others have written: a value that was only looked at must not be taken for a change of it later."""
        for field, mine in [*self._values.items()]:
            if field in merged:
                value = merged[field]
            elif before.get(field) != fields.get(field):
                value = decode(fields[field]) if field in fields else MISSING
            else:
                continue
            del self._values[field]
            if value is not MISSING:
                self._values[field] = become(mine, value)

    def forget(self) -> None:
        """Drops what was changed and not written."""
        self._values.clear()
        self._looks.clear()
        self._edits = None

    def _looks_the_same(self, field: str, value: object) -> bool:
        look = self._looks.get(field)
        return look is not None and look_of(value) == look

    def _put(self, key: str, value: Any) -> None:
        field = field_of(key)
        check_name(field, "session's key")
        self._values[field] = value
        edits = self.edits
        edits.assigned.add(field)
        edits.removed.discard(field)

    def _plainly_set(self, key: str) -> None:
        edits = self.edits
        edits.plain.add(field_of(key))
        if edits.counters:
            edits.counters = {path for path in edits.counters if path[0] != key}

    def _is_removed(self, field: str) -> bool:
        return self._edits is not None and field in self._edits.removed

    def _writable(self) -> None:
        self.accessed = True
        if self.read_only:
            raise SessionReadOnlyError(f"the session can't be changed {self.read_only}")
