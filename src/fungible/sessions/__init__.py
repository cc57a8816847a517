"""What one visitor left: sessions that any instance can serve, and that lose nothing."""

from fungible.core.keyring import KeyDirectory, KeyRing
from fungible.sessions.contract import SessionInfo, Sessions
from fungible.sessions.errors import SessionConflict, SessionError, SessionReadOnlyError, SessionTooLargeError
from fungible.sessions.middleware import SessionMiddleware
from fungible.sessions.opening import open_sessions
from fungible.sessions.session import Session
from fungible.sessions.settings import CookiePolicy, SessionSettings

__all__ = [
    "CookiePolicy",
    "KeyDirectory",
    "KeyRing",
    "Session",
    "SessionConflict",
    "SessionError",
    "SessionInfo",
    "SessionMiddleware",
    "SessionReadOnlyError",
    "SessionSettings",
    "SessionTooLargeError",
    "Sessions",
    "open_sessions",
]
