"""FastAPI: the token as a parameter, scopes by route, and the scheme in OpenAPI."""

from typing import Annotated, Any

import pytest
from fastapi import FastAPI, WebSocket
from starlette.testclient import TestClient, WebSocketDenialResponse

from fungible.adapters.fastapi_tokens import CurrentToken, requires
from fungible.core.errors import SettingError
from fungible.tokens import Token
from fungible.tokens.middleware import TokenMiddleware
from tokens.use.rig import ISSUER, VERIFIER, bearer

READER = bearer(ISSUER.issue("ada", {"scope": "read"}))


def application(*, required: bool = False, middleware: bool = True) -> FastAPI:
    app = FastAPI()
    if middleware:
        app.add_middleware(TokenMiddleware, verifier=VERIFIER, required=required)

    @app.get("/open")
    async def open_to_all() -> str:
        return "hello"

    @app.get("/me")
    async def me(token: CurrentToken) -> str:
        return token.subject

    @app.get("/read")
    async def read(token: Annotated[Token, requires("read")]) -> str:
        return token.subject

    @app.get("/write", dependencies=[requires("read", "write")])
    async def write() -> str:
        return "written"

    @app.websocket("/ws")
    async def ws(socket: WebSocket, token: CurrentToken) -> None:
        await socket.accept()
        await socket.send_text(token.subject)
        await socket.close()

    return app


def test_a_route_gets_the_token_that_the_middleware_has_judged() -> None:
    http = TestClient(application())
    assert http.get("/me", headers=READER).json() == "ada"
    assert http.get("/read", headers=READER).json() == "ada"
    assert http.get("/open").json() == "hello"


def test_a_route_that_needs_a_token_answers_401_and_one_that_needs_more_403() -> None:
    http = TestClient(application())
    nobody = http.get("/me")
    assert (nobody.status_code, nobody.headers["www-authenticate"]) == (401, 'Bearer realm="api"')
    less = http.get("/write", headers=READER)
    assert less.status_code == 403
    assert 'error="insufficient_scope"' in less.headers["www-authenticate"]
    assert 'scope="read write"' in less.headers["www-authenticate"]
    both = bearer(ISSUER.issue("ada", {"scope": "write read"}))
    assert http.get("/write", headers=both).json() == "written"


def test_a_websocket_route_gets_the_token_too() -> None:
    http = TestClient(application())
    with http.websocket_connect("/ws", headers=READER) as socket:
        assert socket.receive_text() == "ada"
    with pytest.raises(WebSocketDenialResponse) as denied, http.websocket_connect("/ws"):
        pass
    assert denied.value.status_code == 401


def test_openapi_names_the_scheme_and_the_routes_that_need_it() -> None:
    schema: dict[str, Any] = application().openapi()
    assert schema["components"]["securitySchemes"] == {"AccessToken": {"type": "http", "scheme": "bearer"}}
    assert schema["paths"]["/me"]["get"]["security"] == [{"AccessToken": []}]
    assert any("AccessToken" in each for each in schema["paths"]["/write"]["get"]["security"])
    assert "security" not in schema["paths"]["/open"]["get"]


def test_without_the_middleware_a_route_says_what_is_missing() -> None:
    with pytest.raises(SettingError, match="TokenMiddleware"):
        TestClient(application(middleware=False)).get("/me", headers=READER)


def test_a_scope_that_no_token_can_have_is_refused_at_once() -> None:
    with pytest.raises(SettingError):
        requires("read write")
