"""In the order that the docs give, a page of another origin may read every refusal, and its preflights are let through."""

import asyncio

import httpx
import pytest
from fastapi import FastAPI, Request
from servers.ports import free_port
from starlette.middleware.cors import CORSMiddleware

from fungible.idempotency import IdempotencyMiddleware
from fungible.limits import LimitMiddleware, per_hour
from fungible.sessions import SessionMiddleware
from fungible.stores import open_store
from fungible.tokens import SigningKeys, TokenIssuer, TokenMiddleware, TokenVerifier

ORIGIN = "https://shop.example"
PREFLIGHT = {
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,idempotency-key",
}
NAMES = {"issuer": "https://login.example", "audience": "https://api.example"}
KEYS = SigningKeys.generate()
SECRET = "a secret for tests, of 32 bytes or more"


class Gate:
    """An application with one route that waits until it is let on."""

    def __init__(self) -> None:
        self.app = FastAPI()
        self.entered, self.open = asyncio.Event(), asyncio.Event()
        self.app.post("/orders")(self.order)

    async def order(self) -> str:
        self.entered.set()
        await self.open.wait()
        return "ordered"

    def with_cors(self) -> FastAPI:
        """Added last, so that it stands outermost."""
        self.app.add_middleware(
            CORSMiddleware, allow_origins=[ORIGIN], allow_methods=["POST"], allow_headers=["*"], allow_credentials=True
        )
        return self.app


def browser(app: FastAPI) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app=app), base_url="https://api.example", headers={"Origin": ORIGIN}
    )


def may_read(answer: httpx.Response) -> bool:
    return answer.headers.get_list("access-control-allow-origin") == [ORIGIN]


async def test_a_401_of_a_token_and_a_409_of_a_key_can_be_read_by_the_page() -> None:
    gate = Gate()
    gate.app.add_middleware(IdempotencyMiddleware, store=open_store("memory:"))
    gate.app.add_middleware(TokenMiddleware, verifier=TokenVerifier(KEYS, **NAMES))
    token = {"Authorization": f"Bearer {TokenIssuer(KEYS, **NAMES).issue('ada')}", "Idempotency-Key": "one"}
    async with browser(gate.with_cors()) as client:
        assert (await client.options("/orders", headers=PREFLIGHT)).status_code == 200
        refused = await client.post("/orders")
        assert refused.status_code == 401
        assert may_read(refused)
        first = asyncio.create_task(client.post("/orders", headers=token))
        await gate.entered.wait()
        second = await client.post("/orders", headers=token)
        assert second.status_code == 409
        assert may_read(second)
        gate.open.set()
        assert may_read(await first)
        replay = await client.post("/orders", headers=token)
        assert replay.headers["idempotent-replayed"] == "true"
        assert may_read(replay)


@pytest.mark.parametrize("kind", ["session", "limit"])
async def test_a_503_of_a_store_that_is_away_can_be_read_by_the_page(kind: str) -> None:
    gate = Gate()
    gate.open.set()
    away = open_store(f"redis://127.0.0.1:{free_port()}")  # where nothing listens
    if kind == "session":
        gate.app.add_middleware(SessionMiddleware, store=away, secret=SECRET)
    else:
        gate.app.add_middleware(LimitMiddleware, store=away, limits=[per_hour("all", 1, on_unavailable="closed")])
    async with browser(gate.with_cors()) as client:
        cookie = {"Cookie": f"__Host-session={await planted()}"} if kind == "session" else {}
        assert (await client.options("/orders", headers=PREFLIGHT | cookie)).status_code == 200
        refused = await client.post("/orders", headers=cookie)
        assert refused.status_code == 503
        assert may_read(refused)
        assert "retry-after" in refused.headers


async def planted() -> str:
    """The cookie of somebody who has a session, at a store that was there."""
    gate = Gate()
    gate.app.add_middleware(SessionMiddleware, store=open_store("memory:"), secret=SECRET)

    @gate.app.get("/visit")
    async def visit(request: Request) -> None:
        request.session["seen"] = 1

    async with browser(gate.app) as client:
        return (await client.get("/visit")).cookies["__Host-session"]
