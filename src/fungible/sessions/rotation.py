"""Giving a session a new ID, so that who knew the old one does not know the new one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fungible.sessions.cookies import handle_of, new_id
from fungible.sessions.lifetimes import longest_ttl_s
from fungible.sessions.state import ENDED, META, NEXT, Meta, Next, SessionState, encoder, subject_of
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
    if state.record is None:
        # Nothing is kept yet: what will be gets an ID of its own anyway.
        changes = session.changes()
        if changes or state.subject is not None:
            await sessions.create(session, changes)
        return
    if state.stale:
        # It came with an ID that was rotated already.
        before = subject_of(state.record)
        if before is not None and before == state.subject:
            # Whoever may hold that ID gets no cookie in the name of who was signed in with it.
            sessions.notice("rotation_refused")
            state.rotation_due = False
            await sessions.write(session)
            return
        found = await sessions.store.get(state.record.key)
        if found is None or await sessions.standing(found) is None:
            await _after_its_end(sessions, session, state.record)
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
                ended = await sessions.standing(current) is None
                if not ended:
                    break
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
    if before is not None:
        await sessions.subjects.remove(before, state.handle)


async def _after_its_end(sessions: StoredSessions, session: Session, read: Record) -> None:
    """The session was ended, or has expired, while it was being rotated."""
    state = session.state
    if state.subject is None or subject_of(read) == state.subject:
        sessions.lost(session)
        return
    # Somebody signs in with this request: that needs no former session. Nothing of the old one comes along.
    changes, subject = session.changes(), state.subject
    state.abandon(end_later=False)
    state.subject = subject
    await sessions.create(session, changes)
