"""Puts our sessions into a Flask application."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, cast

import flask
from flask.sessions import SessionInterface, SessionMixin
from msgspec.structs import replace
from werkzeug.exceptions import HTTPException

from fungible.adapters.flask.session import FlaskSession, Opened
from fungible.adapters.sync import OnUnavailable, fields_of, secrets_of
from fungible.core.bridge import run
from fungible.core.errors import SettingError
from fungible.core.keyring import KeyRing, key_ring
from fungible.sessions.opening import Mode, homes_of, open_sessions
from fungible.sessions.session import Session
from fungible.sessions.settings import DAY_S, CookiePolicy, SameSite, SessionSettings
from fungible.stores.contract import Store
from fungible.stores.postures import Home

EXTENSION: Final = "fungible.sessions"
OF_THE_ANSWER: Final = ("content-", "set-cookie", "cache-control", "expires", "etag", "last-modified", "location")
"""Headers that say something of the response that they are on, by how their names begin."""


class FungibleSessions(SessionInterface):
    """Sessions for a Flask application: `FungibleSessions(app, store=open_store("redis://localhost"))`.

    Of Flask's configuration these count: `SECRET_KEY` and `SECRET_KEY_FALLBACKS`, unless `secret` is given;
    `PERMANENT_SESSION_LIFETIME` as the idle timeout; and each `SESSION_COOKIE_*` that differs from Flask's default.
    Otherwise the cookie is `__Host-session`, Secure, HttpOnly and SameSite=Lax.

    Args:
        app: The application; or `init_app` later.
        store: Where sessions are kept; None only with `mode="sealed"`.
        secret: As `SessionMiddleware` takes it.
        mode: `stored`, `snapshot` or `sealed`; see `SessionMiddleware`.
        secure: False for a plain HTTP server in development.
        on_unavailable: What a request that looks at its session gets while the store is away: `refuse` answers 503
            with `Retry-After`, `empty` gives it an empty session that can't be changed.
        options: Other fields of `SessionSettings`, such as `absolute_timeout_s`, `conflicts` and `subject_key`.
    Raises:
        SettingError: a setting can't be taken, or browsers would reject the cookie.
        PostureError: several instances can't share sessions that are kept there.
    """

    def __init__(
        self,
        app: flask.Flask | None = None,
        *,
        store: Store | None = None,
        secret: str | bytes | Iterable[str | bytes] | KeyRing | None = None,
        mode: Mode = "stored",
        secure: bool | None = None,
        on_unavailable: OnUnavailable = "refuse",
        retry_after_s: int = 2,
        instances: int | None = None,
        machines: int | None = None,
        now: Callable[[], float] = time.time,
        **options: Any,
    ) -> None:
        self._store = store
        self._secret = secret
        self._mode: Mode = mode
        self._secure = secure
        self._on_unavailable: OnUnavailable = on_unavailable
        self._retry_after_s = retry_after_s
        self._deployment = {"instances": instances, "machines": machines}
        self._now = now
        self._options = options
        if app is not None:
            self.init_app(app)

    def init_app(self, app: flask.Flask) -> None:
        """Opens sessions as the application's configuration says, and makes them its `session_interface`."""
        ring = key_ring(self._secret_of(app) if self._secret is None else self._secret)
        settings = self._settings_of(app)
        while_open = replace(settings, cookie=replace(settings.cookie, persistent=False))
        app.extensions[EXTENSION] = Opened(
            open_sessions(self._store, ring, settings, mode=self._mode, now=self._now, **self._deployment),
            # Judged once is enough.
            open_sessions(self._store, ring, while_open, mode=self._mode, now=self._now, instances=1),
            retry_after_s=self._retry_after_s,
            on_unavailable=self._on_unavailable,
            now=self._now,
        )
        app.session_interface = self

    def homes(self) -> Sequence[Home]:
        """Where sessions are kept, for `fungible doctor`."""
        return [replace(home, seat="FungibleSessions") for home in homes_of(self._store, self._mode)]

    def close(self) -> None:
        """Closes the connections of the store in this process: for suites that make one application for each test.

        A later request opens them anew.
        """
        if self._store is not None:
            run(self._store.aclose(), in_loop="block")

    def open_session(self, app: flask.Flask, request: flask.Request) -> FlaskSession:
        """The session of a request."""
        return FlaskSession(self._opened(app), request.environ.get("HTTP_COOKIE", ""))

    def save_session(self, app: flask.Flask, session: SessionMixin, response: flask.Response) -> None:
        """Keeps what the request has changed. Where that fails, the response says so instead of what it said."""
        assert isinstance(session, FlaskSession)
        opened = self._opened(app)
        try:
            session.settle_permanent()
            if session.inner is not None:
                _finish(opened, session.inner, response)
        except HTTPException as error:
            session.refuse_changes("as its request was refused")
            _answer_instead(app, response, error)
            return
        if session.accessed:
            response.vary.add("Cookie")
        session.answer()
        response.call_on_close(session.settle)

    def _opened(self, app: flask.Flask) -> Opened:
        if EXTENSION not in app.extensions:
            # Put in by hand: app.session_interface = FungibleSessions(store=…).
            self.init_app(app)
        opened: Opened = app.extensions[EXTENSION]
        return opened

    def _secret_of(self, app: flask.Flask) -> list[str | bytes]:
        if not app.secret_key:
            raise SettingError("sessions need a secret: set SECRET_KEY before this, or give one as secret=…")
        former: list[str | bytes] | None = _setting(app, "SECRET_KEY_FALLBACKS")
        return secrets_of(app.secret_key, former or ())

    def _settings_of(self, app: flask.Flask) -> SessionSettings:
        idle_timeout_s = app.permanent_session_lifetime.total_seconds()
        options: dict[str, Any] = {
            "idle_timeout_s": idle_timeout_s,
            "absolute_timeout_s": max(90 * DAY_S, idle_timeout_s),
        }
        return SessionSettings(cookie=self._cookie_of(app), **(options | self._options))

    def _cookie_of(self, app: flask.Flask) -> CookiePolicy:
        """Flask's settings of the cookie; where they are its defaults, which are weaker than ours, ours count."""
        if not self.get_cookie_httponly(app):
            raise SettingError("SESSION_COOKIE_HTTPONLY=False would show the session to scripts: it must stay on")
        name = self.get_cookie_name(app)
        same_site = (self.get_cookie_samesite(app) or "lax").lower()
        return CookiePolicy(
            name=None if name == app.default_config["SESSION_COOKIE_NAME"] else name,
            path=self.get_cookie_path(app),
            domain=self.get_cookie_domain(app) or None,
            secure=True if self._secure is None else self._secure,
            same_site=cast(SameSite, same_site),
            partitioned=bool(_setting(app, "SESSION_COOKIE_PARTITIONED")),
        )


def _setting(app: flask.Flask, name: str) -> Any:
    """A setting that releases of Flask before 3.1 do not have."""
    return cast(dict[str, Any], app.config).get(name)


def _answer_instead(app: flask.Flask, response: flask.Response, error: HTTPException) -> None:
    """Makes a response that was ready the one that the application gives to this error."""
    instead = app.make_response(app.handle_user_exception(error))
    close = getattr(response.response, "close", None)
    if close is not None:
        close()
    # What hooks have added for every response stays, such as CORS: without it scripts would not see the status.
    for name in {name for name, _ in response.headers if name.lower().startswith(OF_THE_ANSWER)}:
        del response.headers[name]
    for name, value in instead.headers:
        response.headers[name] = value
    response.headers["Cache-Control"] = "no-store"
    response.status = instead.status
    response.response = instead.response
    response.direct_passthrough = instead.direct_passthrough


def _finish(opened: Opened, session: Session, response: flask.Response) -> None:
    """Keeps what was changed, and adds the cookie that is due."""
    fields = fields_of(response.headers)
    if opened.waits(session, fields):
        return
    opened.write(session)
    cookie = opened.set_cookie(session)
    if cookie is None:
        return
    for name, value in opened.private_fields(fields).items():
        if value is None:
            del response.headers[name]
        else:
            response.headers[name] = value
    response.headers.add("Set-Cookie", cookie)
    response.vary.add("Cookie")
