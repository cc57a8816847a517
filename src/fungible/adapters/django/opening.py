"""From Django's settings to sessions."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast

from django.conf import settings  # pyright: ignore[reportMissingTypeStubs]
from django.core.signals import setting_changed  # pyright: ignore[reportMissingTypeStubs]
from msgspec.structs import fields

from fungible.adapters.sync import OnUnavailable, SyncSessions, secrets_of
from fungible.core.bridge import run
from fungible.core.errors import SettingError
from fungible.core.keyring import KeyRing, key_ring
from fungible.sessions.cookies import signed_id, verified_id
from fungible.sessions.opening import homes_of, open_sessions
from fungible.sessions.session import Session
from fungible.sessions.settings import DAY_S, CookiePolicy, SameSite, SessionSettings
from fungible.sessions.state import SessionState
from fungible.sessions.stored import StoredSessions
from fungible.stores.errors import StoreUnavailableError
from fungible.stores.opening import open_store
from fungible.stores.postures import Home

SETTING: Final = "FUNGIBLE_SESSION"
SUBJECT_KEY: Final = "_auth_user_id"
"""Where `django.contrib.auth` notes who is signed in: at each change of it the session is given a new ID."""
OWN: Final = ("store", "secret", "mode", "on_unavailable", "retry_after_s", "instances", "machines")
OF_SESSIONS: Final = tuple(field.name for field in fields(SessionSettings) if field.name != "cookie")


class Opened(SyncSessions):
    """The sessions of this project."""

    sessions: StoredSessions

    def __init__(
        self,
        sessions: StoredSessions,
        ring: KeyRing,
        *,
        on_unavailable: OnUnavailable,
        retry_after_s: int,
        now: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(sessions, on_unavailable=on_unavailable, retry_after_s=retry_after_s, now=now)
        self._ring = ring
        self._empty = on_unavailable == "empty"
        self.now = now

    async def read(self, texts: Sequence[str]) -> Session:
        """The first session that one of these texts names, each a cookie's value or a `session_key`."""
        try:
            for text in texts:
                state = await self._read(text)
                if state is not None:
                    return Session(self.sessions, state)
        except StoreUnavailableError as error:
            if not self._empty:
                raise
            self.tell(error)
            return self.empty(read_only="while its store is away")
        return self.empty()

    async def _read(self, text: str) -> SessionState | None:
        # In stored sessions a cookie's value and a session_key are one; the cookie of a snapshot holds more.
        verified = verified_id(text, self._ring)
        if verified is None:
            return await self.sessions.read_cookie(text)
        state = await self.sessions.read(verified.id, verified.handle)
        if state is not None:
            state.send_due = verified.kid != self._ring.current().kid
        return state

    def handle(self, session_key: str) -> str | None:
        """What names the session in the store; None if we have not issued this key."""
        verified = verified_id(session_key, self._ring)
        return None if verified is None else verified.handle

    def session_key(self, session_id: bytes) -> str:
        """The ID as text, signed: what we have not issued is never taken."""
        return signed_id(session_id, self._ring)


@functools.cache
def opened() -> Opened:
    """The sessions that the project's settings describe. Opens no connection.

    Raises:
        SettingError: a setting can't be taken.
        PostureError: several instances can't share sessions that are kept there.
    """
    given = _given()
    unknown = sorted(given.keys() - {*OWN, *OF_SESSIONS})
    if unknown:
        raise SettingError(f"{SETTING}: there is no {unknown[0]!r}; there are: {', '.join((*OWN, *OF_SESSIONS))}")
    mode = given.get("mode", "stored")
    if mode not in ("stored", "snapshot"):
        raise SettingError(f"{SETTING}: mode={mode!r} must be 'stored' or 'snapshot'")
    ring = key_ring(given.get("secret") or secrets_of(settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS))
    sessions = open_sessions(
        open_store(_url(given)),
        ring,
        _settings(given),
        mode=mode,
        instances=given.get("instances"),
        machines=given.get("machines"),
    )
    return Opened(
        cast(StoredSessions, sessions),
        ring,
        on_unavailable=given.get("on_unavailable", "refuse"),
        retry_after_s=given.get("retry_after_s", 2),
    )


def homes() -> Sequence[Home]:
    """Where sessions are kept, for `fungible doctor`."""
    return homes_of(open_store(_url(_given())), "stored")


def _given() -> Mapping[str, Any]:
    given: object = getattr(settings, SETTING, None)
    if not isinstance(given, Mapping):
        raise SettingError(f"the settings need {SETTING} = {{'store': 'redis://…'}}")
    return cast("Mapping[str, Any]", given)


def _url(given: Mapping[str, Any]) -> str:
    url: object = given.get("store")
    if not isinstance(url, str):
        raise SettingError(f"{SETTING}: 'store' must be a URL, such as redis://localhost")
    return url


def _settings(given: Mapping[str, Any]) -> SessionSettings:
    idle_timeout_s = float(settings.SESSION_COOKIE_AGE)
    options: dict[str, Any] = {
        "idle_timeout_s": idle_timeout_s,
        "absolute_timeout_s": max(90 * DAY_S, idle_timeout_s),
        "subject_key": SUBJECT_KEY,
    }
    options |= {name: given[name] for name in OF_SESSIONS if name in given}
    # Django sets the cookie. This is to refuse what browsers would reject.
    cookie = CookiePolicy(
        name=settings.SESSION_COOKIE_NAME,
        path=settings.SESSION_COOKIE_PATH,
        domain=settings.SESSION_COOKIE_DOMAIN or None,
        secure=bool(settings.SESSION_COOKIE_SECURE),
        same_site=cast(SameSite, str(settings.SESSION_COOKIE_SAMESITE or "lax").lower()),
    )
    return SessionSettings(cookie=cookie, **options)


def _forget(*, setting: str, **_others: object) -> None:
    """Settings that a test overrides count at once."""
    if setting == SETTING or setting.startswith(("SESSION_", "SECRET_KEY")):
        former = opened() if opened.cache_info().currsize else None
        opened.cache_clear()
        if former is not None:
            run(former.sessions.store.aclose(), in_loop="block")


setting_changed.connect(_forget)  # pyright: ignore[reportUnknownMemberType]
