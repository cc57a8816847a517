"""FastAPI and Starlette: the session as a dependency."""

from functools import partial
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="fastapi is not installed")

import anyio.from_thread
from fastapi import FastAPI, WebSocket
from fastapi.testclient import TestClient
from starlette.middleware.sessions import SessionMiddleware as StarlettesMiddleware
from starlette.websockets import WebSocketDisconnect

from fungible.adapters.fastapi import CurrentSession, CurrentSubject
from fungible.core.errors import SettingError
from fungible.sessions import Session, SessionMiddleware
from fungible.stores import open_store

SECRET = "only for tests, and long enough for that"


def application() -> FastAPI:
    app = FastAPI()

    @app.get("/me")
    async def me(session: CurrentSession) -> dict[str, Any]:
        assert isinstance(session, Session)
        return dict(session)

    @app.get("/subject")
    async def subject(user: CurrentSubject) -> str:
        return user

    @app.post("/sign-in")
    def sign_in(session: CurrentSession, user: str) -> None:
        session["user"] = user
        anyio.from_thread.run(partial(session.rotate, subject=user))

    @app.post("/sign-in-with-the-response")
    def sign_in_with_the_response(session: CurrentSession, user: str) -> None:
        session["user"] = user
        session.subject = user

    @app.post("/sign-out")
    def sign_out(session: CurrentSession) -> None:
        session.clear()

    @app.websocket("/feed")
    async def feed(websocket: WebSocket, session: CurrentSession) -> None:
        await websocket.accept()
        await websocket.send_json(dict(session))

    @app.websocket("/private")
    async def private(websocket: WebSocket, user: CurrentSubject) -> None:
        await websocket.accept()
        await websocket.send_json(user)

    return app


@pytest.fixture
def client() -> TestClient:
    app = application()
    app.add_middleware(SessionMiddleware, store=open_store("memory:"), secret=SECRET)
    return TestClient(app, base_url="https://testserver")


def test_a_route_gets_the_session_by_its_type(client: TestClient) -> None:
    assert client.get("/me").json() == {}
    client.post("/sign-in", params={"user": "ada"})
    assert client.get("/me").json() == {"user": "ada"}


def test_a_route_that_wants_a_subject_answers_401_where_nobody_is_signed_in(client: TestClient) -> None:
    assert client.get("/subject").status_code == 401
    client.post("/sign-in", params={"user": "ada"})
    assert client.get("/subject").json() == "ada"


@pytest.mark.parametrize("path", ["/sign-in", "/sign-in-with-the-response"])
def test_an_endpoint_in_a_worker_thread_can_sign_in_and_out(client: TestClient, path: str) -> None:
    client.post(path, params={"user": "ada"})
    first = client.cookies["__Host-session"]
    client.post(path, params={"user": "grace"})
    assert client.cookies["__Host-session"] != first
    assert client.get("/subject").json() == "grace"
    client.post("/sign-out")
    assert client.get("/subject").status_code == 401


def test_a_websocket_gets_the_session(client: TestClient) -> None:
    client.post("/sign-in", params={"user": "ada"})
    with client.websocket_connect("wss://testserver/feed") as feed:
        assert feed.receive_json() == {"user": "ada"}
    with client.websocket_connect("wss://testserver/private") as private:
        assert private.receive_json() == "ada"


def test_a_websocket_that_wants_a_subject_is_refused_where_nobody_is_signed_in(client: TestClient) -> None:
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("wss://testserver/private"):
        pass


def test_without_the_middleware_the_error_says_what_to_add() -> None:
    with pytest.raises(SettingError, match=r"there is none: app\.add_middleware"):
        TestClient(application()).get("/me")


def test_with_another_middleware_the_error_says_so() -> None:
    app = application()
    app.add_middleware(StarlettesMiddleware, secret_key=SECRET)
    with pytest.raises(SettingError, match="of another middleware"):
        TestClient(app).get("/me")
