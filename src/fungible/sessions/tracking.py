"""The mapping under a session: it knows what was changed in it, also inside of values."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn
from uuid import UUID

from fungible.core.codec import UndecodableError, decode
from fungible.sessions.errors import SessionConflict, SessionReadOnlyError
from fungible.sessions.merging import MISSING, Path, merge
from fungible.sessions.state import UNREAD, SessionState, field_of, name_of
from fungible.sessions.values import become, encode_field, look_of
from fungible.stores.contract import REMOVED, Fields, check_name

if TYPE_CHECKING:
    from fungible.sessions.contract import Sessions

# What can't change inside: such a value needs no look at the end of the request.
UNCHANGING: Final = frozenset({str, int, float, bool, bytes, type(None), datetime, Decimal, UUID})
KEPT: Final = (str, int, float, bytes, bytearray, type(None), dict, list, tuple, datetime, Decimal, UUID)


Deed = Literal["set", "added to", "removed", "dropped"]
"""What a request has done to a field by its name: set it as a whole; only added to it, as a number or as what holds one;
removed it; dropped what it had set before."""
ASSIGNED: Final = ("set", "added to")
TOO_LATE: Final = (
    "{what} once the response has begun: {why} can't be sent any more. Do it before, not while the response is streamed "
    "and not in a background task"
)
NO_DEEDS: Final[dict[str, Deed]] = {}
NO_LOOKS: Final[dict[str, bytes | None]] = {}
NO_COUNTERS: Final[frozenset[Path]] = frozenset()
"""Those of most requests. Never written to: a session gets a dict of its own when there is something to put in it."""


class TrackedValues(MutableMapping[str, Any]):
    """Values that are decoded when they are asked for, and compared with what was read when they are to be written."""

    # Slots, as attributes found in the class would cost each request more than all of these do.
    __slots__ = (
        "_counters",
        "_deeds",
        "_holds_mutable",
        "_looks",
        "_merged",
        "_sessions",
        "_values",
        "accessed",
        "answered",
        "may_have_changed",
        "read_only",
        "state",
        "wrote",
    )

    def __init__(self, sessions: Sessions, state: SessionState, *, read_only: str = "") -> None:
        self._sessions = sessions
        self.state = state
        """Where it is kept, for those who keep it."""
        self.accessed = False
        """Whether the application has looked: then the response depends on the cookie."""
        self.read_only = read_only
        """Why it can't be changed; empty where it can."""
        self.answered = False
        """Whether the response has begun: no cookie can be sent any more."""
        self.wrote = False
        """Whether this request has written anything."""
        self._values: dict[str, Any] = {}
        self._looks: dict[str, bytes | None] = NO_LOOKS
        """How values that can be changed inside looked when they were read."""
        self._holds_mutable = False
        """Whether a value was looked at, or set, that can be changed inside."""
        self.may_have_changed = False
        """Whether that is so, or anything was set or removed by name."""
        self._deeds: dict[str, Deed] = NO_DEEDS
        self._counters = NO_COUNTERS
        """Numbers that were only added to."""
        self._merged: dict[str, Any] | None = None
        """What merging has made of values; None while nothing had to be merged."""

    def __getitem__(self, key: str) -> Any:
        value = self.get(key, MISSING)
        if value is MISSING:
            raise KeyError(key)
        return value

    def get(self, key: str, default: Any = None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The value, or the default: without an exception within, as visitors without a session ask often."""
        self.accessed = True
        field = key if key[:1] != "." else field_of(key)
        values = self._values
        if field in values:
            return values[field]
        stored = self.state.fields.get(field)
        if stored is None or self._deeds.get(field) == "removed":
            return default
        try:
            value = values[field] = decode(stored)
        except UndecodableError:
            UNREAD.warn(field, f"the session's value {key!r} can't be read by this release, and counts as missing")
            return default
        if type(value) not in UNCHANGING:
            self._holds_mutable = self.may_have_changed = True
            if self._looks is NO_LOOKS:
                self._looks = {}
            self._looks[field] = look_of(value)
        return value

    def __setitem__(self, key: str, value: Any) -> None:
        self._writable(key)
        if not isinstance(key, str):  # pyright: ignore[reportUnnecessaryIsInstance] - what untyped callers do
            raise TypeError(f"a session's keys are strings: {key!r} is of type {type(key).__name__!r}")
        if type(value) not in UNCHANGING and not isinstance(value, KEPT):
            # Told here, where the traceback shows the line; what is deeper inside is told when it is written.
            encode_field(key, value)
        self._put(key, value, "set")

    def __delitem__(self, key: str) -> None:
        self._writable(key)
        field = field_of(key)
        if key not in self:
            raise KeyError(key)
        self._values.pop(field, None)
        self._did(key, field, "removed" if field in self.state.fields else "dropped")

    def __contains__(self, key: object) -> bool:
        self.accessed = True
        if not isinstance(key, str):
            return False
        return self.get(key, MISSING) is not MISSING

    def __iter__(self) -> Iterator[str]:
        self.accessed = True
        names = [name_of(field) for field in self.state.fields]
        found = [name for name in names if name is not None and name in self]
        names = [name_of(field) for field in self._values if field not in self.state.fields]
        return iter([*found, *(name for name in names if name is not None)])

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        # No values: they would end up in logs.
        return f"<Session with {', '.join(map(repr, self)) or 'nothing'}>"

    @property
    def is_untouched(self) -> bool:
        """Whether there is no session, none is begun and none was left, as with most requests of visitors."""
        state = self.state
        return state.record is None and not (self._deeds or state.rotation_due or state.ended or state.clear_due)

    @property
    def is_changed(self) -> bool:
        """Whether this request has written, or has something to write: more than a longer life and a fresh cookie."""
        state = self.state
        due = self.wrote or state.rotation_due or state.clear_due or state.ended
        return bool(due) or self.changed_since_written()

    def finish(self, *, kept: bool = False) -> None:
        """Takes no changes from now on, as nobody is left who would keep them.

        Args:
            kept: Whether all changes so far were.
        Raises:
            SessionReadOnlyError: values were changed inside of them, which nobody can see while it happens, where that
                can't be kept any more.
        """
        lost = () if kept or not self.may_have_changed else sorted(name_of(field) or field for field in self.changes())
        self.read_only = self.read_only or "once its request has ended"
        if lost:
            words = (
                f"the session can't be changed {self.read_only}; what was changed inside of {', '.join(lost)} is lost"
            )
            self._sessions.notice("change_too_late", reason=words)
            raise SessionReadOnlyError(words)

    def follow_subject(self, key: str) -> None:
        """Takes the subject from a value, where the application has set or removed that value."""
        field = field_of(key)
        if self._deeds.get(field, "dropped") != "dropped":
            value = self._values.get(field)
            self.subject = None if value is None else str(value)

    def changed_since_written(self) -> bool:
        """Whether there is something to write."""
        return self.may_have_changed and bool(self.changes())

    def changes(self) -> dict[str, bytes | Any]:
        """The fields to write, by comparing what was touched with what was read.

        Raises:
            TypeError: a value can't be kept; the message names its key.
        """
        changes: dict[str, Any] = {}
        fields, deeds = self.state.fields, self._deeds
        for field, value in self._values.items():
            if field not in deeds and (type(value) in UNCHANGING or self._looks_the_same(field, value)):
                continue
            data = encode_field(field, value)
            if fields.get(field) != data:
                changes[field] = data
        for field, deed in deeds.items():
            if deed == "removed":
                changes[field] = REMOVED
        return changes

    def merged_with(self, current: Fields) -> dict[str, bytes | Any]:
        """The fields to write over `current`, which others have made of what this session read.

        Raises:
            SessionConflict: values can't be merged, and the application asked to be told.
        """
        changes: dict[str, Any] = {}
        overwritten: list[Path] = []
        base = self.state.fields
        values = self._merged = dict[str, Any]()
        for field in self.changes():
            name = name_of(field) or field
            outcome = merge(
                _decoded(base, field),
                self._values.get(field, MISSING),
                _decoded(current, field),
                path=(name,),
                counters=self._counters,
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
        before, self.state.fields = self.state.fields, fields
        self.wrote = True
        self._looks = NO_LOOKS
        if self._merged is not None:
            self._catch_up(before, fields, self._merged)
        self._forget_deeds()

    def _catch_up(self, before: Fields, fields: Fields, merged: dict[str, Any]) -> None:
        """Shows what others have written: a value that was only looked at must not be taken for a change of it later."""
        for field, mine in [*self._values.items()]:
            if field in merged:
                value = merged[field]
            elif before.get(field) != fields.get(field):
                value = _decoded(fields, field)
            else:
                continue
            del self._values[field]
            if value is not MISSING:
                self._values[field] = become(mine, value)

    def keep_own(self) -> None:
        """Goes on showing its own values, and not what merging has made of them."""
        self._merged = None

    def forget(self) -> None:
        """Drops what was changed and not written."""
        self._values.clear()
        self._looks = NO_LOOKS
        self._forget_deeds()

    def _forget_deeds(self) -> None:
        self._deeds = NO_DEEDS
        self._counters = NO_COUNTERS
        self._merged = None
        self.may_have_changed = self._holds_mutable

    def _looks_the_same(self, field: str, value: object) -> bool:
        look = self._looks.get(field)
        return look is not None and look_of(value) == look

    def _put(self, key: str, value: Any, deed: Deed) -> None:
        field = key if key[:1] != "." else field_of(key)
        if field not in self.state.fields:
            check_name(field, "session's key")
        self._values[field] = value
        if type(value) not in UNCHANGING:
            self._holds_mutable = True
        self._did(key, field, deed)

    def _did(self, key: str, field: str, deed: Deed) -> None:
        self.may_have_changed = True
        if self._deeds is NO_DEEDS:
            self._deeds = {}
        # What was set or removed as a whole and is then added to is no sum of additions any more.
        if deed == "added to" and field in self._deeds:
            deed = self._deeds[field] if self._deeds[field] in ASSIGNED else "set"
        self._deeds[field] = deed
        if self._counters and deed != "added to":
            self._counters = frozenset(path for path in self._counters if path[0] != key)

    def _writable(self, key: str = "") -> None:
        """Refuses a change that would not be kept, of a value if one is named."""
        self.accessed = True
        if self.read_only:
            raise SessionReadOnlyError(f"the session can't be changed {self.read_only}")
        if self.answered:
            if self.state.record is None:
                self.too_late("a session can't be begun", "its cookie")
            if key and key == self._sessions.settings.subject_key:
                self.too_late(f"{key!r}, which names the subject, can't be changed", "the new ID")
            self._endable()

    def _endable(self) -> None:
        """Refuses to end a session whose cookie can't be taken back, where that is all there is."""
        self.accessed = True
        if self.read_only:
            raise SessionReadOnlyError(f"the session can't be changed {self.read_only}")
        if self.answered and self._sessions.in_cookie and self.state.record is not None:
            self.too_late("a sealed session can't be changed", "its cookie")

    def check_rotatable(self) -> None:
        """Refuses what gives the session a new ID where that can't be sent any more.

        Raises:
            SessionReadOnlyError: the response has begun, or the session can't be changed at all.
        """
        self._endable()
        if self.answered:
            self.too_late("a session can't be given a new ID", "it")

    def too_late(self, what: str, why: str) -> NoReturn:
        """Refuses what the response would have had to tell the browser.

        Raises:
            SessionReadOnlyError: always.
        """
        words = TOO_LATE.format(what=what, why=why)
        self._sessions.notice("change_too_late", reason=words)
        raise SessionReadOnlyError(words)


def _decoded(fields: Fields, field: str) -> Any:
    """The value in a field; `MISSING` where there is none, or one that this release can't read."""
    try:
        return decode(fields[field]) if field in fields else MISSING
    except UndecodableError:
        return MISSING
