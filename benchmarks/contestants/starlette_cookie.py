"""Starlette's own sessions: all of it in a signed cookie."""

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.sessions import SessionMiddleware

from benchmarks.contestants.routes import SECRET
from benchmarks.contestants.starlette_routes import session_routes


def application() -> Starlette:
    return Starlette(routes=session_routes(), middleware=[Middleware(SessionMiddleware, secret_key=SECRET)])
