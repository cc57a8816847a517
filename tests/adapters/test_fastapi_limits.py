"""FastAPI: limits of single routes, as a dependency and as a decorator."""

from __future__ import annotations

from typing import Annotated, Any

import pytest

pytest.importorskip("fastapi", reason="fastapi is not installed")

from fastapi import APIRouter, Depends, FastAPI, WebSocket
from fastapi.responses import PlainTextResponse
from fastapi.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from fungible.adapters.fastapi_limits import rate_limit, rate_limited
from fungible.core.errors import SettingError
from fungible.core.functions import FunctionError
from fungible.limits import LimitMiddleware, by_route, per_hour
from fungible.stores import StoreUnavailableError
from fungible.stores.memory import MemoryStore

ASKED = list[str]()


def limit_of(name: str, number: int = 2, **more: Any) -> Any:
    return per_hour(name, number, **{"on_unavailable": "closed", **more})


class Away(MemoryStore):
    async def take(self, *_: Any, **__: Any) -> Any:
        raise StoreUnavailableError(home=self.home, reason="it is switched off")


def asks(name: str) -> Any:
    async def dependency() -> str:
        ASKED.append(name)
        return name

    return Depends(dependency)


def application(store: Any = None, *, limits: Any = ()) -> FastAPI:
    app = FastAPI()
    app.add_middleware(LimitMiddleware, store=store or MemoryStore(), limits=limits, instances=1)
    shared = limit_of("shared")
    router = APIRouter(prefix="/api", dependencies=[rate_limit(shared)])

    @app.get("/free")
    async def free() -> str:
        return "free"

    @app.post("/sign-in", dependencies=[rate_limit(limit_of("sign-in"))])
    async def sign_in() -> str:
        return "signed in"

    @app.get("/direct", dependencies=[rate_limit(limit_of("direct"))])
    async def direct() -> PlainTextResponse:
        return PlainTextResponse("a response of its own")

    @app.get("/items/{number}")
    @rate_limited(limit_of("items", by=by_route))
    async def items(number: int, user: Annotated[str, asks("items")], size: int = 3) -> list[Any]:
        return [number, user, size]

    @app.get("/blocking")
    @rate_limited(limit_of("blocking", 1))
    def blocking(user: Annotated[str, asks("blocking")]) -> str:
        return user

    @app.websocket("/feed")
    @rate_limited(limit_of("feed", 1))
    async def feed(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.close()

    @router.get("/one", dependencies=[rate_limit(shared)])
    async def one() -> str:
        return "one"

    @router.get("/narrow", dependencies=[rate_limit(limit_of("narrow", methods=("POST",)))])
    async def narrow() -> str:
        return "narrow"

    app.include_router(router)
    return app


def test_a_route_has_a_limit_of_its_own_and_clients_are_told_as_they_are_of_others() -> None:
    client = TestClient(application(limits=[limit_of("all", 50)]))
    first = client.post("/sign-in")
    assert first.headers["ratelimit-policy"] == '"all";q=50;w=3600, "sign-in";q=2;w=3600'
    assert first.headers["ratelimit"].startswith('"all";r=49;t=')
    assert '"sign-in";r=1;t=' in first.headers["ratelimit"]
    assert client.post("/sign-in").status_code == 200
    refused = client.post("/sign-in")
    assert refused.status_code == 429
    assert refused.headers["content-type"] == "application/problem+json"
    assert (refused.json()["code"], refused.json()["violated-policies"]) == ("rate_limited", ["sign-in"])
    assert 0 < int(refused.headers["retry-after"]) <= 1800
    assert '"sign-in";r=0' in refused.headers["ratelimit"]
    assert refused.headers["ratelimit-policy"] == first.headers["ratelimit-policy"]
    assert client.get("/free").headers["ratelimit-policy"] == '"all";q=50;w=3600'


def test_a_response_of_the_endpoints_own_has_the_fields_as_well() -> None:
    assert "ratelimit" in TestClient(application()).get("/direct").headers


def test_a_decorated_endpoint_keeps_its_parameters_and_is_counted_before_its_dependencies() -> None:
    client = TestClient(application())
    ASKED.clear()
    answers = [client.get(f"/items/{number}?size=5") for number in (7, 8, 9)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert answers[0].json() == [7, "items", 5]
    assert ASKED == ["items", "items"]
    assert client.get("/items/x").status_code in (422, 429)
    operation = client.get("/openapi.json").json()["paths"]["/items/{number}"]["get"]
    assert [each["name"] for each in operation["parameters"]] == ["number", "size"]


def test_an_endpoint_that_blocks_is_limited_as_well() -> None:
    client = TestClient(application())
    ASKED.clear()
    assert [client.get("/blocking").status_code for _ in range(2)] == [200, 429]
    assert ASKED == ["blocking"]


def test_a_handshake_is_refused_before_it_is_answered() -> None:
    client = TestClient(application())
    with client.websocket_connect("/feed"):
        pass
    with pytest.raises(WebSocketDisconnect), client.websocket_connect("/feed"):
        pass


def test_a_limit_of_router_and_route_counts_a_request_once_and_narrowed_ones_count_what_they_are_for() -> None:
    client = TestClient(application())
    assert [client.get("/api/one").status_code for _ in range(3)] == [200, 200, 429]
    client = TestClient(application())
    assert client.get("/api/narrow").headers["ratelimit-policy"] == '"shared";q=2;w=3600'


def test_two_limits_of_one_name_are_an_error() -> None:
    client = TestClient(application(limits=[limit_of("sign-in", 9)]))
    with pytest.raises(SettingError, match="two limits called 'sign-in'"):
        client.post("/sign-in")


@pytest.mark.parametrize(("on_unavailable", "status"), [("closed", 503), ("open", 200), ("share", 200)])
def test_while_the_store_is_away_the_limit_says_what_holds(on_unavailable: str, status: int) -> None:
    app = FastAPI()
    app.add_middleware(LimitMiddleware, store=Away(), limits=[], instances=1)

    @app.get("/")
    @rate_limited(limit_of("away", on_unavailable=on_unavailable))
    async def root() -> str:
        return "there"

    answer = TestClient(app).get("/")
    assert answer.status_code == status
    if status == 503:
        assert (answer.json()["code"], "retry-after" in answer.headers) == ("store_unavailable", True)


def test_without_the_middleware_it_is_said_what_is_missing() -> None:
    app = FastAPI()

    @app.get("/", dependencies=[rate_limit(limit_of("lonely"))])
    async def root() -> None: ...

    with pytest.raises(SettingError, match="LimitMiddleware"):
        TestClient(app).get("/")


def test_what_is_no_endpoint_is_refused_when_it_is_decorated() -> None:
    def generator() -> Any:
        yield 1

    with pytest.raises(FunctionError, match="@rate_limited"):
        rate_limited(limit_of("x"))(generator)
