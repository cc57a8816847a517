"""Suites make many applications in one process: each can be closed, and leaves no connection behind."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("flask", reason="flask is not installed")
pytest.importorskip("django", reason="django is not installed")

import django_project
from django.test.utils import override_settings
from flask import Flask

from fungible.adapters.django.opening import opened
from fungible.adapters.flask import FungibleSessions, session
from fungible.core.bridge import run
from fungible.stores import open_store

if TYPE_CHECKING:
    from servers import RedisServer

GONE_WITHIN_S = 30
SECRET = "only for tests, and long enough for that"


def gone(server: "RedisServer", before: int) -> None:
    """Waits until the server has seen that connections were closed, which takes it a moment."""
    until = time.monotonic() + GONE_WITHIN_S
    while server.connections() > before:
        assert time.monotonic() < until, "connections were left behind"
        time.sleep(0.01)


def visited(url: str, **options: Any) -> FungibleSessions:
    """The sessions of a Flask application that has been asked something."""
    app = Flask(__name__)
    app.secret_key = SECRET
    sessions = FungibleSessions(app, store=open_store(url, timeout_s=30), **options)

    @app.post("/visit")
    def visit() -> str:
        return str(session.increment("visits"))

    client = app.test_client()
    assert [client.post("/visit").text for _ in range(2)] == ["1", "2"]
    return sessions


@pytest.mark.parametrize("mode", ["stored", "snapshot"])
def test_flask_sessions_that_are_closed_leave_no_connection(redis_server: "RedisServer", mode: Any) -> None:
    redis_server.revive()
    before = redis_server.connections()
    for _ in range(3):
        sessions = visited(redis_server.url, mode=mode)
        assert redis_server.connections() > before
        sessions.close()
        sessions.close()
        gone(redis_server, before)


def test_flask_sessions_without_a_store_or_a_connection_can_be_closed(tmp_path: Path) -> None:
    visited(f"sqlite:///{tmp_path}/sessions.db").close()
    FungibleSessions(store=open_store("redis://localhost")).close()
    FungibleSessions(mode="sealed", secret=SECRET).close()


def test_django_settings_that_a_test_overrides_leave_no_connection(redis_server: "RedisServer") -> None:
    assert django_project
    redis_server.revive()
    before = redis_server.connections()
    for _ in range(3):
        with override_settings(FUNGIBLE_SESSION={"store": redis_server.url}):
            run(opened().sessions.store.ping())
            assert redis_server.connections() > before
        gone(redis_server, before)
