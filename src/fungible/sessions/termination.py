"""Ending sessions: for good, for all who hold their IDs, and wherever the store can still delete."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fungible.sessions.revocations import TOLD_AGAIN_AFTER_S
from fungible.sessions.state import ENDED, NEXT, key_of, next_of, subject_of
from fungible.stores.contract import REMOVED, Record
from fungible.stores.errors import ConflictError, GoneError, StoreError, StoreUnavailableError

if TYPE_CHECKING:
    from fungible.sessions.stored import StoredSessions


async def end(sessions: StoredSessions, handle: str, *, shut_out: bool = False) -> bool:
    """Ends a session; gives whether it is over then, and does not go on under another ID.

    Where it was rotated, it ends there as well if the same subject is signed in; whoever has signed in since is not signed
    out by a request with an ID from before. Where no subject is named that can't be told: then a request ends it that had
    read the session before the rotation, and one that came later (`shut_out`) does not.

    Raises:
        StoreUnavailableError: it may be over or not, or goes on where this release can't find it.
    """
    ended = await end_one(sessions, handle)
    # Rotated meanwhile, and again while that was ended: but never without an end.
    while ended is not None and NEXT in ended.fields:
        subject = subject_of(ended)
        leads = next_of(ended)
        if leads is None:
            reason = "a session was rotated by a later release, and goes on where this one does not find it: try again"
            raise StoreUnavailableError(home=sessions.store.home, reason=reason)
        following = leads.handle
        found = await sessions.store.get(key_of(following))
        if found is not None and (subject_of(found) != subject or (subject is None and shut_out)):
            sessions.tell(
                "end_refused",
                "a request was to end a session that goes on under another session ID since somebody has signed in: it "
                "did not, as it came with the ID from before",
            )
            return False
        ended = await end_one(sessions, following)
    return True


async def end_one(sessions: StoredSessions, handle: str, *, listed: bool = True) -> Record | None:
    """Deletes what is kept under one ID; gives what that was.

    Nothing but the deletion has to succeed: a store that is full takes no mark and no message any more.

    Args:
        listed: It is in its subject's index, and is to be taken out there.
    Raises:
        StoreUnavailableError: it may have been deleted or not.
    """
    key, settings = key_of(handle), sessions.settings
    began_at = sessions.now()
    # Told first: cut off in between, no copy of what is dead in the store goes on being trusted.
    told = await _told(sessions, handle)
    record = await _marked(sessions, key)
    try:
        await sessions.store.delete(key, tombstone_s=settings.tombstone_s)
    except StoreUnavailableError:
        # A tombstone takes room. Without one nobody revives the session either: each write names the record it has read.
        await sessions.store.delete(key)
    # Some room may be there now. And a copy that was made just before a late deletion outlives what was told early.
    told = told and sessions.now() - began_at <= TOLD_AGAIN_AFTER_S
    if not (told or await _told(sessions, handle)):
        sessions.tell(
            "revocation_untold",
            "a session was ended, and the other instances could not be told: a copy of it in a cookie may be trusted there "
            f"for up to {settings.freshness_s:g} s (freshness_s)",
        )
    subject = None if record is None else subject_of(record)
    if listed and subject is not None:
        await sessions.subjects.remove(subject, handle)
    return record


async def end_all(sessions: StoredSessions, subject: str, *, keep: str | None = None) -> int:
    """Ends every session of a subject, but one; gives how many."""
    ended: set[str] = set()
    while True:
        # Again until none is left: a session that is rotated meanwhile is in the index before its old ID leads on.
        handles = [handle for handle in await sessions.subjects.handles(subject) if handle not in {*ended, keep}]
        if not handles:
            return len(ended)
        for handle in handles:
            await end(sessions, handle)
        await sessions.subjects.remove(subject, *handles)
        ended.update(handles)


async def _told(sessions: StoredSessions, handle: str) -> bool:
    try:
        await sessions.revoked(handle, from_s=sessions.now())
    except StoreError:
        return False
    return True


async def _marked(sessions: StoredSessions, key: str) -> Record | None:
    """The record, marked so that nobody can rotate it any more, or rotated already."""
    record = await sessions.store.get(key)
    while record is not None and NEXT not in record.fields and ENDED not in record.fields:
        try:
            return await sessions.store.change(record, {ENDED: b"1", NEXT: REMOVED})
        except ConflictError as conflict:
            record = conflict.current
        except GoneError:
            return None
        except StoreError:
            # No room for a mark, and none for a rotation, which would have to write more.
            return record
    return record
