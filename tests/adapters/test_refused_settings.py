"""A mistake in the settings ends the server when it starts, with a message that says what to do; nothing is served."""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from servers.ports import free_port
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.routing import Mount
from starlette.testclient import TestClient

from fungible.cache.middleware import CacheMiddleware
from fungible.core.errors import SettingError
from fungible.idempotency.middleware import IdempotencyMiddleware
from fungible.idempotency.transactional import TransactionalIdempotency
from fungible.limits.middleware import LimitMiddleware
from fungible.sessions import SessionMiddleware
from fungible.stores import open_store
from fungible.stores.postures import PostureError
from fungible.tokens.middleware import TokenMiddleware

APPLICATIONS = Path(__file__).parent / "applications"
ENDS_WITHIN_S = 120
MEMORY = open_store("memory:")
SECRET = "only for tests, and long enough for that"
SERVERS = {
    "uvicorn": ["-m", "uvicorn", "--factory", "refused_app:{app}", "--port", "{port}"],
    "gunicorn with uvicorn's workers": [
        *("-m", "gunicorn", "--worker-class", "uvicorn.workers.UvicornWorker", "--no-control-socket"),
        *("--bind", "127.0.0.1:{port}", "refused_app:{app}()"),
    ],
    "gunicorn": [
        *("-m", "gunicorn", "--worker-class", "asgi", "--no-control-socket"),
        *("--bind", "127.0.0.1:{port}", "refused_app:{app}()"),
    ],
    # In its own process: as the parent of workers it ends with status 0, whatever became of them.
    "hypercorn": ["-m", "hypercorn", "--workers", "0", "--bind", "127.0.0.1:{port}", "refused_app:{app}()"],
    "granian": ["-m", "granian", "--interface", "asgi", "--factory", "refused_app:{app}", "--port", "{port}"],
}
WSGI = {
    "gunicorn for WSGI": [
        *("-m", "gunicorn", "--no-control-socket", "--bind", "127.0.0.1:{port}", "refused_app:{app}()"),
    ]
}
OURS = "fungible.adapters.django.SessionMiddleware"
DJANGOS = "django.contrib.sessions.middleware.SessionMiddleware"
MISTAKES = {
    "short_secret": "the secret has 5 bytes, and needs 32 or more",
    "several_instances": "BREAKING session at memory: would differ on each instance",
    "unknown_option": "idle_timeout",
    "litestar": "limits need different names: a, a",
}


def command(server: str, app: str, port: int) -> list[str]:
    parts = (SERVERS | WSGI)[server]
    pytest.importorskip(parts[1])
    return [sys.executable, *(part.format(app=app, port=port) for part in parts)]


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize("server", SERVERS)
def test_the_server_ends_with_our_message_and_serves_nothing(server: str, mistake: str) -> None:
    serves_nothing(server, mistake, MISTAKES[mistake])


def test_flask_refuses_when_it_is_imported() -> None:
    serves_nothing("gunicorn for WSGI", "flask", "the secret has 5 bytes, and needs 32 or more")


@pytest.mark.parametrize("middleware", [OURS, DJANGOS], ids=["our middleware", "Django's middleware"])
@pytest.mark.parametrize("server", ["gunicorn for WSGI", "uvicorn"])
def test_django_refuses_when_it_loads_its_middleware(server: str, middleware: str) -> None:
    environment = {"SESSION_MIDDLEWARE": middleware} | ({"ASYNCHRONOUS": "1"} if server == "uvicorn" else {})
    serves_nothing(server, "django", "BREAKING session at memory:", environment)


def serves_nothing(server: str, app: str, words: str, environment: Mapping[str, str] = {}) -> None:
    port = free_port()
    ended = subprocess.run(
        command(server, app, port),
        cwd=APPLICATIONS,
        env={**os.environ, **environment, "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=ENDS_WITHIN_S,
        check=False,
    )
    assert ended.returncode != 0, ended.stdout
    assert words in ended.stdout
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


@pytest.mark.parametrize("server", SERVERS)
def test_and_where_there_is_no_mistake_it_serves(server: str, tmp_path: Path) -> None:
    port = free_port()
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            command(server, "good", port), cwd=APPLICATIONS, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        transport = httpx.HTTPTransport(retries=12)
        with httpx.Client(transport=transport, timeout=ENDS_WITHIN_S) as client:
            assert client.get(f"http://127.0.0.1:{port}/").text == "served"
    finally:
        process.terminate()
        process.wait(ENDS_WITHIN_S)


class Verifies:
    """A verifier, as far as the middleware of tokens looks at it."""

    def verify(self, token: str) -> Any:
        raise NotImplementedError


REFUSED = [
    (SessionMiddleware, {"store": MEMORY, "secret": "short"}, "the secret has 5 bytes"),
    (SessionMiddleware, {"store": MEMORY}, "secret"),
    (SessionMiddleware, {"store": "redis://:hunter2@localhost", "secret": SECRET}, "takes an open store"),
    (SessionMiddleware, {"store": MEMORY, "secret": SECRET, "colour": "red"}, "colour"),
    (TokenMiddleware, {"verifier": Verifies(), "scopes": "orders"}, "scopes='orders' must be a list"),
    (TokenMiddleware, {"verifier": Verifies(), "retry_after_s": "2"}, "retry_after_s='2'"),
    (LimitMiddleware, {"store": MEMORY, "limits": [], "retry_jitter_s": -1}, "retry_jitter_s=-1"),
    (IdempotencyMiddleware, {"store": MEMORY, "routes": {"/x": {"requierd": True}}}, "requierd"),
    (TransactionalIdempotency, {"begin": None, "drain_s": -1}, "drain_s=-1"),
    (CacheMiddleware, {"store": MEMORY, "prefix": ""}, "prefix=''"),
    (CacheMiddleware, {"store": "redis://:hunter2@localhost"}, "takes an open store"),
]


@pytest.mark.parametrize(("kind", "options", "words"), REFUSED)
def test_every_middleware_that_is_built_late_refuses_the_start(kind: Any, options: Any, words: str) -> None:
    app = Starlette(middleware=[Middleware(kind, **options)])
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "lifespan.startup"}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(app({"type": "lifespan"}, receive, send))
    [message] = sent
    assert message["type"] == "lifespan.startup.failed"
    assert words in message["message"]
    assert kind.__name__ in message["message"]
    assert "hunter2" not in message["message"]


@pytest.mark.parametrize(("kind", "options", "words"), REFUSED)
def test_every_middleware_that_the_application_builds_itself_raises_at_once(
    kind: Any, options: Any, words: str
) -> None:
    with pytest.raises((SettingError, TypeError), match=words):
        kind(Starlette(), **options)


def test_that_an_event_loop_runs_makes_no_difference_to_who_builds_it_by_hand() -> None:
    async def build() -> None:
        SessionMiddleware(Starlette(), store=MEMORY, secret=SECRET, instances=2)

    with pytest.raises(PostureError):
        asyncio.run(build())


def test_a_mounted_application_whose_middleware_is_refused_lets_nobody_in() -> None:
    # No lifespan reaches it, so nothing can be said before its first request.
    inner = Starlette(middleware=[Middleware(SessionMiddleware, store=MEMORY, secret="short")])
    with TestClient(Starlette(routes=[Mount("/inner", inner)])) as client:
        for _ in range(2):
            with pytest.raises(SettingError, match="SessionMiddleware: the secret has 5 bytes"):
                client.get("/inner/")
