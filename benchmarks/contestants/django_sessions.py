"""Django's sessions in its database (PostgreSQL) and in its cache (Redis), as an ASGI application."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import urlsplit

import django
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.core.management import call_command
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path

from benchmarks.contestants.routes import KEY, NOBODY, SECRET, SESSION, Gates, count, pause_s

_gates = Gates()
View = Callable[..., Awaitable[HttpResponse]]


def cache() -> Any:
    caches = {
        "default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": os.environ["STORE_URL"]}
    }
    _configure(CACHES=caches, SESSION_ENGINE="django.contrib.sessions.backends.cache")
    return get_asgi_application()


def database() -> Any:
    _configure(DATABASES={"default": _database(os.environ["STORE_URL"])})
    return get_asgi_application()


def prepare() -> None:
    """Makes the table."""
    _configure(DATABASES={"default": _database(os.environ["STORE_URL"])})
    call_command("migrate", verbosity=0)


def _configure(**options: Any) -> None:
    settings.configure(
        SECRET_KEY=SECRET,
        ALLOWED_HOSTS=["127.0.0.1"],
        ROOT_URLCONF=__name__,
        INSTALLED_APPS=["django.contrib.sessions"],
        MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware"],
        **options,
    )
    django.setup()


def _database(url: str) -> dict[str, Any]:
    parts = urlsplit(url)
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parts.path[1:],
        "HOST": parts.hostname,
        "PORT": parts.port,
        "USER": parts.username or "",
        "PASSWORD": parts.password or "",
    }


async def me(request: HttpRequest) -> HttpResponse:
    return HttpResponse(await request.session.aget("user", NOBODY))


async def write(request: HttpRequest) -> HttpResponse:
    await request.session.aset("n", await request.session.aget("n", 0) + 1)
    return HttpResponse("ok")


async def login(request: HttpRequest) -> HttpResponse:
    await request.session.aupdate(SESSION)
    return HttpResponse("ok")


async def logout(request: HttpRequest) -> HttpResponse:
    await request.session.aflush()
    return HttpResponse("ok")


async def add_one(request: HttpRequest, kind: str, item: str, ms: int) -> HttpResponse:
    await request.session.aget("user")
    if wait_s := pause_s(ms):
        await asyncio.sleep(wait_s)
    await request.session.aset(f"{kind}-{item}", 1)
    return HttpResponse("ok")


async def counted(request: HttpRequest) -> HttpResponse:
    return JsonResponse(count(dict(await request.session.aitems())))


async def slow(request: HttpRequest, name: str) -> HttpResponse:
    await request.session.aget("user")
    await _gates.wait(name)
    await request.session.aset(f"{KEY}-late", 1)
    return HttpResponse("ok")


async def loaded(_: HttpRequest, name: str) -> HttpResponse:
    await _gates.loaded(name)
    return HttpResponse("ok")


async def release(_: HttpRequest, name: str) -> HttpResponse:
    await _gates.release(name)
    return HttpResponse("ok")


urlpatterns = [
    path("me", me),
    path("write", write),
    path("login", login),
    path("logout", logout),
    path("add/<kind>/<item>/<int:ms>", add_one),
    path("count", counted),
    path("slow/<name>", slow),
    path("loaded/<name>", loaded),
    path("release/<name>", release),
]
