"""The session that an application holds: `request.session`."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import TYPE_CHECKING, Any

from fungible.core.subjects import check_subject
from fungible.sessions.merging import Path
from fungible.sessions.state import field_of
from fungible.sessions.tracking import TrackedValues

if TYPE_CHECKING:
    from fungible.sessions.contract import SessionInfo


class Session(TrackedValues):
    """What one visitor left: `request.session`, a mutable mapping.

    Values are JSON's types, bytes, datetime, Decimal and UUID; keys are strings. Values are decoded when they are asked
    for, and changes inside of them are seen. What is changed is written when the response starts.

    What is changed later, while the response is streamed or in a background task, is written at the end, if the session
    is kept in a store and was begun before. What needs a cookie that can't be sent any more is refused: the first values
    of a session, a new ID, a subject, and in `sealed` mode every change.
    """

    __slots__ = ()

    def clear(self) -> None:
        """Ends this session when the response starts; what is set after this begins another one, with another ID."""
        self._endable()
        self.forget()
        self.state.abandon(end_later=True)

    def increment(self, key: str | Path, by: float = 1) -> Any:
        """Adds to a number, so that no addition of another request is lost; a missing number counts as 0.

        Args:
            key: The key, or the keys of nested mappings: `("stats", "visits")`.
            by: What is added; below 0, it is taken away.
        Returns:
            The sum as this request sees it.
        Raises:
            TypeError: the value is no number.
        """
        path = (key,) if isinstance(key, str) else tuple(key)
        self._writable(path[0])
        field = field_of(path[0])
        place: MutableMapping[str, Any] = self
        for name in path[:-1]:
            if name not in place:
                if place is self:
                    self._put(name, {}, "added to")
                else:
                    place[name] = {}
            place = place[name]
        before = place.get(path[-1], 0)
        if isinstance(before, bool) or not isinstance(before, int | float):
            raise TypeError(f"the session's {'.'.join(path)} is of type {type(before).__name__!r}: no number to add to")
        if self._deeds.get(field, "added to") == "added to":
            # A number that this request also set or removed as a whole is no sum of additions any more.
            self._counters |= {path}
        if place is self:
            self._put(path[0], before + by, "added to")
        else:
            place[path[-1]] = before + by
        return before + by

    @property
    def subject(self) -> str | None:
        """Who is signed in, if the application has said so. Setting it gives the session a new ID with the response."""
        # The response depends on the cookie, as with a value that was looked at.
        self.accessed = True
        return self.state.subject

    @subject.setter
    def subject(self, subject: str | None) -> None:
        self._endable()
        check_subject(subject)
        if subject != self.state.subject:
            self.check_rotatable()
            self.state.subject = subject
            self.state.rotation_due = True

    @property
    def created_at(self) -> float:
        """When it began, in Unix seconds."""
        self.accessed = True
        return self.state.created_at

    @property
    def is_new(self) -> bool:
        """Whether nothing of it is kept yet."""
        self.accessed = True
        return self.state.record is None

    async def rotate(self, *, subject: str | None = None) -> None:
        """Gives the session a new ID, now: at each sign-in and each change of privilege.

        What was changed so far is written with it. For a few seconds the old ID still shows what it showed before, and then
        nothing. What requests that are under way still write goes into the new session only where the same subject was
        signed in before: of a sign-in nobody sees anything who had the ID from before.

        Args:
            subject: Who is signed in from now on, if that is to change.
        Raises:
            SessionReadOnlyError: the response has begun. Nothing was done.
            TypeError: `subject` is no string.
        """
        self.check_rotatable()
        check_subject(subject)
        if subject is not None:
            self.state.subject = subject
        await self._sessions.rotate(self)

    async def end(self) -> None:
        """Signs out, now: deletes the session, and no request that began earlier can bring it back."""
        self._endable()
        await self._sessions.end(self)
        self.forget()
        self.state.abandon(end_later=False)

    async def end_all(self, subject: str | None = None, *, keep_this: bool = False) -> int:
        """Ends every session of a subject, by default this session's, on all devices.

        Args:
            subject: Whose sessions; this session's own subject by default.
            keep_this: Leaves this very session alive, as after a change of password.
        Returns:
            How many were ended.
        Raises:
            TypeError: `subject` is no string.
        """
        self._endable()
        check_subject(subject)
        whose = self.state.subject if subject is None else subject
        if whose is None:
            await self.end()
            return 1
        handle = self.state.handle
        count = await self._sessions.end_all(whose, keep=handle if keep_this else None)
        if not keep_this and self.state.subject == whose:
            self.forget()
            self.state.abandon(end_later=False)
        return count

    async def others(self) -> list[SessionInfo]:
        """The live sessions of this session's subject, this one among them (`current`)."""
        return await self._sessions.sessions_of(self.state.subject, current=self.state.handle)

    async def save(self) -> None:
        """Writes what was changed, now; otherwise it is written when the response starts."""
        self._endable()
        await self._sessions.write(self)
