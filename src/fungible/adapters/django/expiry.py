"""What `request.session.set_expiry` asks for: an expiry of one session's own."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Final

from django.utils import timezone  # pyright: ignore[reportMissingTypeStubs]

from fungible.sessions.session import Session

EXPIRY: Final = "_session_expiry"
"""Where Django notes what `set_expiry` was told: seconds without a change, a date as text, or 0."""
EXPIRES_AT: Final = "_session_expires_at"
"""Where we note when those seconds will be over, in Unix seconds."""


def has_expired(session: Session, now: float) -> bool:
    """Whether the expiry is over that `set_expiry` has given the session."""
    expiry = session.get(EXPIRY)
    if isinstance(expiry, str):
        return datetime.fromisoformat(expiry) <= timezone.now()
    if isinstance(expiry, int) and expiry > 0:
        until = session.get(EXPIRES_AT)
        return until is not None and until <= now
    return False


def note_expiry(session: Session, now: float) -> None:
    """Notes when a session ends that was given seconds: a change makes them begin anew."""
    if EXPIRY in session.changes():
        # The cookie's own expiry changes with it.
        session.state.send_due = True
    seconds = session.get(EXPIRY)
    if not isinstance(seconds, int) or seconds <= 0:
        if EXPIRES_AT in session:
            del session[EXPIRES_AT]
        return
    # In steps of a tenth, so that requests at about the same time note the same and there is nothing to merge.
    step = max(1, seconds // 10)
    until = math.ceil((now + seconds) / step) * step
    if session.get(EXPIRES_AT) != until:
        session[EXPIRES_AT] = until
        session.state.send_due = True
