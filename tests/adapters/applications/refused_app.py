"""Applications with a mistake in the settings of their middleware, each named by what it is."""

import os
from typing import Any

from fastapi import FastAPI
from litestar import Litestar, get
from litestar.middleware import DefineMiddleware
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from fungible.limits import Limit
from fungible.limits.middleware import LimitMiddleware
from fungible.sessions import SessionMiddleware
from fungible.stores import open_store

MEMORY = open_store("memory:")
SECRET = "only for tests, and long enough for that"


async def served(request: Request) -> Response:
    return PlainTextResponse("served")


def short_secret() -> Any:
    app = FastAPI()
    app.add_middleware(SessionMiddleware, store=MEMORY, secret="short")
    app.add_route("/", served)
    return app


def several_instances() -> Any:
    sessions = Middleware(SessionMiddleware, store=MEMORY, secret=SECRET, instances=2)
    return Starlette(routes=[Route("/", served)], middleware=[sessions])


def unknown_option() -> Any:
    app = FastAPI()
    app.add_middleware(SessionMiddleware, store=MEMORY, secret=SECRET, idle_timeout=5)
    app.add_route("/", served)
    return app


def litestar() -> Any:
    @get("/")
    async def handler() -> str:
        return "served"

    twice = [Limit("a", n, per_s=60, on_unavailable="open") for n in (10, 20)]
    return Litestar([handler], middleware=[DefineMiddleware(LimitMiddleware, store=MEMORY, limits=twice)])


def good() -> Any:
    sessions = Middleware(SessionMiddleware, store=MEMORY, secret=SECRET, instances=1)
    return Starlette(routes=[Route("/", served)], middleware=[sessions])


def flask() -> Any:
    from flask import Flask

    from fungible.adapters.flask import FungibleSessions

    app = Flask(__name__)
    app.secret_key = "short"
    FungibleSessions(app, store=MEMORY)
    return app


def django() -> Any:
    from django.conf import settings
    from django.core.asgi import get_asgi_application
    from django.core.wsgi import get_wsgi_application

    settings.configure(
        FUNGIBLE_SESSION={"store": "memory:", "instances": 2},
        MIDDLEWARE=[os.environ["SESSION_MIDDLEWARE"]],
        ROOT_URLCONF=__name__,
        SECRET_KEY=SECRET,
        SESSION_ENGINE="fungible.adapters.django.sessions",
    )
    return get_asgi_application() if "ASYNCHRONOUS" in os.environ else get_wsgi_application()


urlpatterns: list[Any] = []
