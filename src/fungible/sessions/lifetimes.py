"""How long a session lives: idle and absolute timeout together."""

from fungible.sessions.settings import SessionSettings
from fungible.sessions.state import SessionState


def longest_ttl_s(state: SessionState, settings: SessionSettings, now: float) -> float:
    """How long the session may live from now on without being used, in seconds."""
    return min(settings.idle_timeout_s, state.created_at + settings.absolute_timeout_s - now)


def extension_s(state: SessionState, settings: SessionSettings, now: float) -> float | None:
    """The time to live that is due, in seconds; None while the last extension is young."""
    record = state.record
    if record is None or record.expires_at - now > settings.idle_timeout_s - settings.touch_after_s:
        return None
    ttl_s = longest_ttl_s(state, settings, now)
    return ttl_s if ttl_s > 0 and now + ttl_s - record.expires_at >= settings.touch_after_s else None
