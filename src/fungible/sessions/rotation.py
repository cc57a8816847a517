"""Giving a session a new ID, so that who knew the old one does not know the new one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from fungible.sessions.cookies import handle_of, new_id
from fungible.sessions.lifetimes import longest_ttl_s
from fungible.sessions.revocations import TOLD_AGAIN_AFTER_S
from fungible.sessions.state import (
    ENDED,
    META,
    NEXT,
    Meta,
    Next,
    SessionState,
    encoder,
    key_of,
    next_of,
    subject_of,
)
from fungible.sessions.values import apply
from fungible.stores.contract import ABSENT, Record
from fungible.stores.errors import ConflictError, GoneError

if TYPE_CHECKING:
    from fungible.sessions.session import Session
    from fungible.sessions.stored import StoredSessions


MAX_HOPS: Final = 1000
"""Rotations that are followed from an old ID: there never are so many while one request runs."""


class Standing(NamedTuple):
    """The record that stands for a session now."""

    record: Record
    same_subject: bool
    """Whether the same subject is signed in as before, and was all the way from the ID that was asked for."""

    def takes_writes(self, read: Record) -> bool:
        """Whether it takes what a request writes that had read `read`."""
        return self.record.key == read.key or (self.same_subject and subject_of(read) is not None)


async def standing(sessions: StoredSessions, record: Record, read: Record | None = None) -> Standing | None:
    """What stands for a session now, where it was rotated since; None if it has ended.

    Args:
        record: What its ID has now.
        read: What it had when a request read it, by default the same: whose subject is looked for.
    """
    subject, same = subject_of(read or record), True
    for _ in range(MAX_HOPS):
        if ENDED in record.fields:
            return None
        same = same and subject_of(record) == subject
        if NEXT not in record.fields:
            return Standing(record, same)
        leads = next_of(record)
        found = None if leads is None else await sessions.store.get(key_of(leads.handle))
        if found is None:
            return None
        record = found
    return None


async def rotate(sessions: StoredSessions, session: Session) -> None:
    """Writes a session under a new ID, and lets the old one lead there for the grace period.

    The new record is complete before the old one leads to it, in one step that fails if anybody has written since: so
    wherever this is cut off, one of the two IDs holds everything.
    """
    state = session.state
    if state.record is None:
        # Nothing is kept yet: what will be gets an ID of its own anyway.
        changes = session.changes()
        if changes or state.subject is not None:
            await sessions.create(session, changes)
        return
    if state.stale:
        # It came with an ID that was rotated already.
        found = await sessions.store.get(state.record.key)
        stands = None if found is None else await standing(sessions, found, state.record)
        if stands is None:
            await _after_its_end(sessions, session, state.record)
            return
        before = subject_of(state.record)
        if before == state.subject and (before is not None or not stands.same_subject):
            # Whoever may hold that ID gets no cookie in the name of who was signed in with it, and the visitor's, who
            # has signed in since, is not taken back to what was before.
            await _refuse(sessions, session)
            return
        # Somebody signs in: into a session of its own, and not into what the old ID leads to, which may be that of
        # somebody who had planted the old ID here.
    changes: Mapping[str, Any] = session.changes()
    while True:
        read = state.record
        session_id = new_id()
        fields = apply(read.fields, changes)
        fields = {field: value for field, value in fields.items() if field not in (NEXT, ENDED)}
        fields[META] = state.meta()
        record = await _written_anew(sessions, state, handle_of(session_id), fields)
        try:
            await _lead_on(sessions, state, read, record)
            break
        except ConflictError as conflict:
            current = conflict.current
            ended = ENDED in current.fields
            if NEXT in current.fields:
                # Another request rotated first, such as the first click of a double click on "sign in". Both get an ID
                # that works: a browser may drop either of the two answers.
                stands = await standing(sessions, current, read)
                ended = stands is None
                if stands is not None and (stands.same_subject or state.subject != subject_of(read)):
                    break
                if stands is not None:
                    # Somebody has signed in, and this is no sign-in: its cookie must not come after theirs.
                    await sessions.end_by_handle(handle_of(session_id))
                    await _refuse(sessions, session)
                    return
        except GoneError:
            current, ended = read, True
        await sessions.end_by_handle(handle_of(session_id))
        if ended:
            await _after_its_end(sessions, session, read)
            return
        changes = session.merged_with(current.fields)
        state.record = current
    state.rotation_due = False
    state.record, state.id, state.handle = record, session_id, handle_of(session_id)
    state.send_due = state.drawn = True
    state.stale = state.shut_out = False
    session.written(record.fields)


async def _refuse(sessions: StoredSessions, session: Session) -> None:
    sessions.notice("rotation_refused")
    session.state.rotation_due = False
    await sessions.keep(session)


async def _written_anew(
    sessions: StoredSessions, state: SessionState, handle: str, fields: Mapping[str, bytes]
) -> Record:
    ttl_s = max(1.0, longest_ttl_s(state, sessions.settings, sessions.now()))
    record = await sessions.store.put(f"session:{handle}", fields, ttl_s=ttl_s, expect=ABSENT)
    if state.subject is not None:
        # In the index before the old ID leads on: "sign out everywhere" finds at least one of the two.
        ends_at = state.created_at + sessions.settings.absolute_timeout_s
        await sessions.subjects.add(state.subject, handle, ends_at=ends_at, instead_of=state.handle)
    return record


async def _lead_on(sessions: StoredSessions, state: SessionState, read: Record, record: Record) -> None:
    """Makes the old ID lead to the new one, if the old record is as it was read."""
    assert state.handle is not None
    if state.stale:
        return
    settings = sessions.settings
    before = subject_of(read)
    dead_at = sessions.now() + settings.rotation_grace_s
    leads = encoder.encode(Next(record.key.removeprefix("session:"), dead_at))
    # The old ID goes on showing what it showed: one that was planted on the visitor before (session fixation) must show
    # nothing of who signed in. Who was signed in before, and is no longer, is out.
    signed_out = before is not None and before != state.subject
    kept = {META: encoder.encode(Meta(state.created_at))} if signed_out else read.fields
    # Told first: cut off in between, the old ID is only asked for more often.
    await sessions.revoked(state.handle, from_s=dead_at)
    await sessions.store.put(read.key, {**kept, NEXT: leads}, ttl_s=settings.tombstone_s, expect=read)
    if sessions.now() - (dead_at - settings.rotation_grace_s) > TOLD_AGAIN_AFTER_S:
        await sessions.revoked(state.handle, from_s=dead_at)
    if before is not None:
        await sessions.subjects.remove(before, state.handle)


async def _after_its_end(sessions: StoredSessions, session: Session, read: Record) -> None:
    """The session was ended, or has expired, while it was being rotated."""
    state = session.state
    if state.subject is None or subject_of(read) == state.subject:
        sessions.lost(session)
        return
    await _begin_anew(sessions, session)


async def begin_after_the_end(sessions: StoredSessions, session: Session, *, at_once: bool = False) -> None:
    """What a request still does after it has found its session ended, by `save` for instance.

    Who signs in gets a session of their own. All else is dropped: the browser may have another cookie by now.

    Args:
        at_once: The application asks for a new ID: where it has left the old session, it begins one with what it has set.
    """
    state = session.state
    signs_in = state.subject is not None and (state.record is None or subject_of(state.record) != state.subject)
    if signs_in or (at_once and state.record is None and session.changed_since_written()):
        await _begin_anew(sessions, session)
    elif session.changed_since_written() or state.rotation_due or at_once:
        sessions.lost(session)


async def _begin_anew(sessions: StoredSessions, session: Session) -> None:
    """Somebody signs in with this request: that needs no former session. Nothing of the old one comes along."""
    changes, subject = session.changes(), session.state.subject
    session.state.abandon(end_later=False)
    session.state.subject = subject
    await sessions.create(session, changes)
