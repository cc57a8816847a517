"""How long a session lives: idle and absolute timeout together."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fungible.sessions.settings import SessionSettings
from fungible.sessions.state import SessionState

if TYPE_CHECKING:
    from fungible.sessions.session import Session

TOUCHES: Final = 10
"""A session's life is extended at most that often in an idle timeout."""


def longest_ttl_s(state: SessionState, settings: SessionSettings, now: float) -> float:
    """How long the session may live from now on without being used, in seconds."""
    return min(settings.idle_timeout_s, state.created_at + settings.absolute_timeout_s - now)


def extension_s(state: SessionState, settings: SessionSettings, now: float) -> float | None:
    """The time to live that is due, in seconds; None while the last extension is young."""
    record = state.record
    idle_s = settings.idle_timeout_s
    if record is None or record.expires_at - now > idle_s - idle_s / TOUCHES:
        return None
    ttl_s = longest_ttl_s(state, settings, now)
    return ttl_s if ttl_s > 0 and now + ttl_s - record.expires_at >= idle_s / TOUCHES else None


def may_write(session: Session, settings: SessionSettings, now: float) -> bool:
    """Whether `write` could have anything to do: a change, an end, a new ID, a longer life, or another cookie.

    Most requests only read: they are spared the coroutines of a write.
    """
    state = session.state
    return (
        session.may_have_changed
        or state.send_due
        or state.rotation_due
        or bool(state.ended)
        or extension_s(state, settings, now) is not None
    )
