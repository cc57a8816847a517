"""FastAPI: the session as a typed dependency, for HTTP and WebSocket routes.

The session itself is brought by `fungible.sessions.SessionMiddleware`, here as in any ASGI application.
"""

from typing import Annotated

from fastapi import Depends, HTTPException
from starlette.requests import HTTPConnection

from fungible.core.errors import SettingError
from fungible.sessions import Session

__all__ = ["CurrentSession", "CurrentSubject", "current_session", "current_subject"]


async def current_session(connection: HTTPConnection) -> Session:
    """The session of this request or WebSocket.

    Raises:
        SettingError: the application has no `SessionMiddleware` of ours.
    """
    session: object = connection.scope.get("session")
    if not isinstance(session, Session):
        found = "there is none" if session is None else f"there is a {type(session).__name__!r} of another middleware"
        raise SettingError(
            f"a route asks for the session, and {found}: "
            "app.add_middleware(fungible.sessions.SessionMiddleware, store=…, secret=…)"
        )
    return session


CurrentSession = Annotated[Session, Depends(current_session)]
"""For a route's parameter: `async def cart(session: CurrentSession)`."""


async def current_subject(session: CurrentSession) -> str:
    """Who is signed in, as `session.rotate(subject=…)` has said.

    Raises:
        HTTPException: 401, nobody is. A WebSocket is refused before its handshake is answered.
    """
    if session.subject is None:
        raise HTTPException(401, "Not signed in")
    return session.subject


CurrentSubject = Annotated[str, Depends(current_subject)]
"""For a route's parameter: `async def orders(user_id: CurrentSubject)`; 401 where nobody is signed in."""
