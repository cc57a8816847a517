"""Litestar: its session API, its SessionAuth and its test client on our sessions."""

from typing import Any

import pytest

pytest.importorskip("litestar", reason="litestar is not installed")

from litestar import Litestar, Request, Response, WebSocket, get, post, websocket
from litestar.background_tasks import BackgroundTask
from litestar.connection import ASGIConnection
from litestar.exceptions import LitestarException, WebSocketDisconnect
from litestar.security.session_auth import SessionAuth
from litestar.testing import TestClient
from msgspec import Struct

from fungible.adapters.litestar import FungibleBackend, FungibleSessions
from fungible.core.errors import SettingError
from fungible.doctor.applications import homes_of
from fungible.sessions import SessionReadOnlyError
from fungible.stores import open_store
from fungible.stores.postures import PostureError

SECRET = "only for tests, and long enough for that"
BASE_URL = "https://testserver.local"


class Basket(Struct):
    items: list[str]


@get("/me")
async def me(request: Request[Any, Any, Any]) -> dict[str, Any]:
    return dict(request.session)


@post("/put")
async def put(request: Request[Any, Any, Any]) -> None:
    request.session[request.query_params["key"]] = request.query_params["value"]


@post("/replace")
async def replace(request: Request[Any, Any, Any]) -> None:
    request.set_session({"only": True})


@post("/replace-by-a-model")
async def replace_by_a_model(request: Request[Any, Any, Any]) -> None:
    request.set_session(Basket(["mug"]))


@post("/clear")
async def clear(request: Request[Any, Any, Any]) -> None:
    request.clear_session()


@get("/id")
async def named(request: Request[Any, Any, Any]) -> str:
    return request.get_session_id() or ""


@get("/left-out", skip_session=True)
async def left_out(request: Request[Any, Any, Any]) -> bool:
    return "session" in request.scope


@websocket("/feed")
async def feed(socket: WebSocket[Any, Any, Any]) -> None:
    await socket.accept()
    await socket.send_json(dict(socket.session))
    await socket.close()


@pytest.fixture
def sessions() -> FungibleSessions:
    return FungibleSessions(store=open_store("memory:"), secret=SECRET)


HANDLERS: list[Any] = [me, put, replace, replace_by_a_model, clear, named, left_out, feed]


@pytest.fixture
def client(sessions: FungibleSessions) -> TestClient[Litestar]:
    app = Litestar(HANDLERS, middleware=[sessions.middleware])
    return TestClient(app, base_url=BASE_URL, session_config=sessions)


def test_what_a_request_leaves_the_next_one_finds(client: TestClient[Litestar]) -> None:
    client.post("/put", params={"key": "cart", "value": "mug"})
    assert client.get("/me").json() == {"cart": "mug"}


def test_set_session_replaces_all_values_and_keeps_the_session(client: TestClient[Litestar]) -> None:
    client.post("/put", params={"key": "cart", "value": "mug"})
    name = client.get("/id").text
    client.post("/replace")
    assert client.get("/me").json() == {"only": True}
    assert client.get("/id").text == name
    client.post("/replace-by-a-model")
    assert client.get("/me").json() == {"items": ["mug"]}


def test_clear_session_ends_it(client: TestClient[Litestar]) -> None:
    client.post("/put", params={"key": "cart", "value": "mug"})
    cookie = client.cookies["__Host-session"]
    client.post("/clear")
    assert "__Host-session" not in client.cookies
    client.cookies["__Host-session"] = cookie
    assert client.get("/me").json() == {}


def test_a_visitor_who_leaves_nothing_gets_no_cookie(client: TestClient[Litestar]) -> None:
    assert "set-cookie" not in client.get("/me").headers
    assert "set-cookie" not in client.post("/clear").headers
    assert client.get("/id").text == ""


def test_routes_can_be_left_out(client: TestClient[Litestar], sessions: FungibleSessions) -> None:
    assert client.get("/left-out").json() is False
    by_path = FungibleSessions(store=open_store("memory:"), secret=SECRET, exclude="/me")
    with TestClient(Litestar([me], middleware=[by_path.middleware])) as excluded:
        assert excluded.get("/me").status_code == 500


def test_a_websocket_reads_the_session(client: TestClient[Litestar]) -> None:
    client.post("/put", params={"key": "cart", "value": "mug"})
    with client.websocket_connect("wss://testserver.local/feed") as socket:
        assert socket.receive_json() == {"cart": "mug"}


def test_litestars_test_client_reads_and_writes_sessions(client: TestClient[Litestar]) -> None:
    client.set_session_data({"cart": ["mug"]})
    assert client.get("/me").json() == {"cart": ["mug"]}
    client.post("/put", params={"key": "seen", "value": "yes"})
    assert client.get_session_data() == {"cart": ["mug"], "seen": "yes"}


async def user_of(session: dict[str, Any], connection: ASGIConnection[Any, Any, Any, Any]) -> str | None:
    return session.get("user")


def test_session_auth_goes_by_our_sessions(sessions: FungibleSessions) -> None:
    @post("/sign-in")
    async def sign_in(request: Request[Any, Any, Any]) -> None:
        request.session["user"] = request.query_params["user"]

    @get("/user")
    async def user(request: Request[Any, Any, Any]) -> str:
        return str(request.user)

    auth = SessionAuth[str, FungibleBackend](
        session_backend_config=sessions, retrieve_user_handler=user_of, exclude=["/sign-in", "/schema"]
    )
    with TestClient(Litestar([sign_in, user], on_app_init=[auth.on_app_init]), base_url=BASE_URL) as client:
        assert client.get("/user").status_code == 401
        client.post("/sign-in", params={"user": "ada"})
        assert client.get("/user").text == "ada"


def test_while_the_store_is_away_the_answer_is_503(client: TestClient[Litestar]) -> None:
    client.post("/put", params={"key": "cart", "value": "mug"})
    away = FungibleSessions(store=open_store("sqlite:////nowhere/sessions.db"), secret=SECRET)
    app = Litestar(HANDLERS, middleware=[away.middleware])
    with TestClient(app, base_url=BASE_URL, cookies=client.cookies) as refused:
        answer = refused.get("/me")
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "2")
    with TestClient(app, base_url=BASE_URL) as stranger:
        assert stranger.get("/me").status_code == 200
        answer = stranger.post("/put", params={"key": "cart", "value": "mug"})
        assert answer.status_code == 503
        assert "set-cookie" not in answer.headers


def refusal_of(client: TestClient[Litestar]) -> str:
    """What the application sees of a refusal: Litestar wraps it."""
    with pytest.raises(LitestarException, match="after response started") as raised:
        client.get("/late")
    assert isinstance(raised.value.__cause__, SessionReadOnlyError)
    return str(raised.value.__cause__)


@pytest.mark.parametrize("how", ["set_session", "clear_session"])
@pytest.mark.parametrize("mode", ["stored", "snapshot", "sealed"])
def test_a_session_that_is_replaced_once_the_response_has_begun_is_kept_or_refused(mode: str, how: str) -> None:
    async def late(request: Request[Any, Any, Any]) -> None:
        if how == "clear_session":
            request.clear_session()
        else:
            request.set_session({"late": True})

    @get("/late")
    async def handler(request: Request[Any, Any, Any]) -> Response[str]:
        return Response("", background=BackgroundTask(late, request))

    store = None if mode == "sealed" else open_store("memory:")
    sessions = FungibleSessions(store=store, secret=SECRET, mode=mode, freshness_s=1e-6)
    app = Litestar([*HANDLERS, handler], middleware=[sessions.middleware])
    with TestClient(app, base_url=BASE_URL) as known:
        known.post("/put", params={"key": "cart", "value": "mug"})
        if mode == "sealed":
            assert "once the response has begun" in refusal_of(known)
            assert known.get("/me").json() == {"cart": "mug"}
        else:
            known.get("/late")
            assert known.get("/me").json() == ({} if how == "clear_session" else {"late": True})
    with TestClient(app, base_url=BASE_URL) as visitor:
        if how == "clear_session":
            visitor.get("/late")
        else:
            assert "a session can't be begun" in refusal_of(visitor)
        assert visitor.get("/me").json() == {}


def test_that_a_websocket_replaces_a_session_is_told() -> None:
    told: list[str] = []
    sessions = FungibleSessions(
        store=open_store("memory:"), secret=SECRET, on_event=lambda event, details: told.append(event)
    )

    @websocket("/replaces")
    async def replaces(socket: WebSocket[Any, Any, Any]) -> None:
        await socket.accept()
        socket.set_session({"late": True})
        await socket.close()

    with (
        TestClient(Litestar([replaces], middleware=[sessions.middleware]), base_url=BASE_URL) as client,
        client.websocket_connect("wss://testserver.local/replaces") as socket,
        pytest.raises(WebSocketDisconnect),
    ):
        socket.receive()
    assert told == ["change_too_late"]


def test_what_a_shared_cache_may_store_carries_no_cookie(sessions: FungibleSessions) -> None:
    @post("/public", response_headers={"Cache-Control": "public, max-age=60"})
    async def public(request: Request[Any, Any, Any]) -> None:
        request.set_session({"n": 1})

    with TestClient(Litestar([public], middleware=[sessions.middleware]), base_url=BASE_URL) as client:
        answer = client.post("/public")
        assert "set-cookie" in answer.headers
        assert answer.headers["cache-control"] == "max-age=60, private"
        assert answer.headers["vary"] == "Cookie"


def test_settings_are_refused_as_in_the_middleware() -> None:
    with pytest.raises(SettingError, match="has 5 bytes"):
        FungibleSessions(store=open_store("memory:"), secret="short")
    with pytest.raises(PostureError):
        FungibleSessions(store=open_store("memory:"), secret=SECRET, instances=2)


def test_doctor_sees_where_sessions_are(sessions: FungibleSessions) -> None:
    found = homes_of(Litestar([me], middleware=[sessions.middleware]), "app")
    assert [(home.kind, home.home, home.seat) for home in found.homes] == [
        ("session", "memory:", "FungibleSessions in app")
    ]
    assert found.notes == ()
