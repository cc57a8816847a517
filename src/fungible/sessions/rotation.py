"""Giving a session a new ID, so that who knew the old one does not know the new one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fungible.sessions.cookies import handle_of, new_id
from fungible.sessions.lifetimes import longest_ttl_s
from fungible.sessions.state import ENDED, META, NEXT, Next, SessionState, encoder, meta_decoder
from fungible.sessions.values import apply
from fungible.stores.contract import ABSENT, Record
from fungible.stores.errors import ConflictError, GoneError

if TYPE_CHECKING:
    from fungible.sessions.session import Session
    from fungible.sessions.stored import StoredSessions


async def rotate(sessions: StoredSessions, session: Session) -> None:
    """Writes a session under a new ID, and lets the old one lead there for the grace period.

    The new record is complete before the old one leads to it, in one step that fails if anybody has written since: so
    wherever this is cut off, one of the two IDs holds everything.
    """
    state = session.state
    state.rotation_due = False
    if state.record is None:
        # Nothing is kept yet: what will be gets an ID of its own anyway.
        changes = session.changes()
        if changes:
            await sessions.create(session, changes)
        return
    if state.id is None and not state.stale:
        # It came with an ID that was rotated already: whoever may hold that gets no cookie for what it leads to.
        sessions.notice("rotation_refused")
        await sessions.write(session)
        return
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
            if NEXT in conflict.current.fields:
                # Another request rotated first, such as the first click of a double click on "sign in". Both get an ID
                # that works: a browser may drop either of the two answers.
                break
            await sessions.end_by_handle(handle_of(session_id))
            changes = session.merged_with(conflict.current.fields)
            state.record = conflict.current
        except GoneError:
            await sessions.end_by_handle(handle_of(session_id))
            await _after_its_end(sessions, session, read)
            return
    state.record, state.id, state.handle = record, session_id, handle_of(session_id)
    state.send_due, state.stale = True, False
    session.written(record.fields)


async def _written_anew(
    sessions: StoredSessions, state: SessionState, handle: str, fields: Mapping[str, bytes]
) -> Record:
    ttl_s = max(1.0, longest_ttl_s(state, sessions.settings, sessions.now()))
    record = await sessions.store.put(f"session:{handle}", fields, ttl_s=ttl_s, expect=ABSENT)
    if state.subject is not None:
        # In the index before the old ID leads on: "sign out everywhere" finds at least one of the two.
        ends_at = state.created_at + sessions.settings.absolute_timeout_s
        await sessions.subjects.add(state.subject, handle, ends_at=ends_at)
    return record


async def _lead_on(sessions: StoredSessions, state: SessionState, read: Record, record: Record) -> None:
    """Makes the old ID lead to the new one, if the old record is as it was read."""
    assert state.handle is not None
    if state.stale:
        return
    settings = sessions.settings
    before = meta_decoder.decode(read.fields[META]).subject
    dead_at = sessions.now() + settings.rotation_grace_s
    leads = encoder.encode(Next(record.key.removeprefix("session:"), dead_at, before != state.subject))
    # Where somebody else is signed in now, the old ID goes on showing what it showed: an ID that was planted on the
    # visitor before (session fixation) must show nothing of who signed in.
    kept = dict(read.fields) if before != state.subject else {}
    await sessions.store.put(read.key, {**kept, NEXT: leads}, ttl_s=settings.tombstone_s, expect=read)
    await sessions.revoked(state.handle, from_s=dead_at)
    if before is not None:
        await sessions.subjects.remove(before, state.handle)


async def _after_its_end(sessions: StoredSessions, session: Session, read: Record) -> None:
    """The session was ended, or has expired, while it was being rotated."""
    state = session.state
    if state.subject is None or meta_decoder.decode(read.fields[META]).subject == state.subject:
        sessions.lost(session)
        return
    # Somebody signs in with this request: that needs no former session. Nothing of the old one comes along.
    changes, subject = session.changes(), state.subject
    state.abandon(end_later=False)
    state.subject = subject
    await sessions.create(session, changes)
