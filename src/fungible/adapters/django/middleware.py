"""In place of `django.contrib.sessions.middleware.SessionMiddleware`.

Django's own works with our `SESSION_ENGINE`, too; this one answers 503 while the store is away, answers normally where a
session was ended or given another key while a request was under way, and sets the cookie only when that is due.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any, cast

import asgiref.sync as asgiref
from django.conf import settings  # pyright: ignore[reportMissingTypeStubs]
from django.http import HttpResponse  # pyright: ignore[reportMissingTypeStubs]
from django.utils import cache  # pyright: ignore[reportMissingTypeStubs]

from fungible.adapters.django.opening import homes, opened
from fungible.adapters.django.sessions import SessionStore
from fungible.adapters.sync import UNAVAILABLE, fields_of, problem_body
from fungible.core.asgi import Header
from fungible.core.errors import SettingError
from fungible.sessions.cookies import cookie_values
from fungible.sessions.errors import SessionConflict
from fungible.stores.errors import StoreUnavailableError
from fungible.stores.postures import Home

# Django has no types of its own.
Request = Any
Response = Any


class SessionMiddleware:
    """Gives each request its visitor's session, and keeps what the request has changed of it.

    Under ASGI the session is loaded before the view, so that `request.session["cart"]` works there too; under WSGI when
    it is first looked at. As in Django, a response of 500 and above keeps nothing.

    Raises:
        SettingError: `SESSION_ENGINE` is another one, or a setting can't be taken.
        PostureError: several instances can't share sessions that are kept there.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[Request], Any]) -> None:
        self.get_response = get_response
        engine: object = import_module(settings.SESSION_ENGINE).SessionStore
        if not (isinstance(engine, type) and issubclass(engine, SessionStore)):
            raise SettingError(
                f"this middleware needs SESSION_ENGINE = 'fungible.adapters.django.sessions', not "
                f"{settings.SESSION_ENGINE!r}"
            )
        self._engine: type[SessionStore] = engine
        opened()
        # Django marks what is asynchronous but no coroutine function.
        self._asynchronous = asgiref.iscoroutinefunction(get_response)  # pyright: ignore[reportDeprecated]
        if self._asynchronous:
            asgiref.markcoroutinefunction(self)

    def homes(self) -> Sequence[Home]:
        """Where sessions are kept, for `fungible doctor`."""
        return homes()

    def __call__(self, request: Request) -> Any:
        """Serves one request."""
        if self._asynchronous:
            return self._serve(request)
        session = self._begin(request)
        response = self.get_response(request)
        fields = fields_of(response.items())
        waits = session.waits(fields)
        try:
            if response.status_code < 500 and not waits:
                session.write()
        except (StoreUnavailableError, SessionConflict) as error:
            return _refusal(error)
        return _finished(session, response, None if waits else fields)

    async def _serve(self, request: Request) -> Response:
        session = self._begin(request)
        try:
            await session.aload()
            # The view has not looked at it yet: so far the answer is the same for all visitors.
            session.accessed = False
            response: Response = await self.get_response(request)
            fields = fields_of(response.items())
            waits = session.waits(fields)
            if response.status_code < 500 and not waits:
                await session.awrite()
        except (StoreUnavailableError, SessionConflict) as error:
            if isinstance(error, StoreUnavailableError):
                opened().tell(error)
            return _refusal(error)
        return _finished(session, response, None if waits else fields)

    def process_exception(self, request: Request, exception: Exception) -> HttpResponse | None:
        """The answer to a view that found the store away, or saved what could not be merged."""
        if not isinstance(exception, StoreUnavailableError | SessionConflict):
            return None
        if self._asynchronous and isinstance(exception, StoreUnavailableError):
            opened().tell(exception)
        return _refusal(exception)

    def _begin(self, request: Request) -> SessionStore:
        name = settings.SESSION_COOKIE_NAME
        texts = cookie_values(request.META.get("HTTP_COOKIE", ""), f"{name}=")
        first, *others = texts or [request.COOKIES.get(name)]
        session = self._engine(first, also=others)
        request.session = session
        return session


def _finished(session: SessionStore, response: Response, fields: list[Header] | None) -> Response:
    """The response with the cookie that it needs, and what keeps it out of shared caches.

    Args:
        fields: Those of the response; None where the cookie can wait for another one.
    """
    if session.unavailable is not None and response.status_code >= 500:
        return _refusal(session.unavailable)
    if session.inner is not None and fields is not None:
        _set_cookie(session, response, fields)
    if session.accessed:
        cast(Any, cache).patch_vary_headers(response, ("Cookie",))
    session.answer()
    # Called with the end of the response, under WSGI and ASGI; Django closes the request so.
    response._resource_closers.append(session.settle)
    return response


def _set_cookie(session: SessionStore, response: Response, fields: list[Header]) -> None:
    assert session.inner is not None
    state = session.inner.state
    place: dict[str, Any] = {
        "path": settings.SESSION_COOKIE_PATH,
        "domain": settings.SESSION_COOKIE_DOMAIN,
        "samesite": settings.SESSION_COOKIE_SAMESITE,
    }
    value = opened().sessions.due_cookie(state)
    if value is not None:
        response.set_cookie(
            settings.SESSION_COOKIE_NAME,
            value,
            max_age=None if session.get_expire_at_browser_close() else cast(Any, session).get_expiry_age(),
            secure=bool(settings.SESSION_COOKIE_SECURE),
            httponly=bool(settings.SESSION_COOKIE_HTTPONLY),
            **place,
        )
    elif state.clear_due:
        # Only where this request has ended the session: a late answer to a key that was cycled must not take back the
        # cookie with the new one.
        response.delete_cookie(settings.SESSION_COOKIE_NAME, **place)
    else:
        return
    session.accessed = True
    for name, value in opened().private_fields(fields).items():
        if value is None:
            del response[name]
        else:
            response[name] = value


def _refusal(error: StoreUnavailableError | SessionConflict) -> HttpResponse:
    if isinstance(error, SessionConflict):
        status, title, words, headers = 409, "Conflict", str(error), dict[str, str]()
    else:
        status, title, words = 503, "Service Unavailable", UNAVAILABLE
        headers = {"Retry-After": str(opened().retry_after_s)}
    return HttpResponse(
        problem_body(status, title, words, error.code),
        status=status,
        content_type="application/problem+json",
        headers={"Cache-Control": "no-store", **headers},
    )
