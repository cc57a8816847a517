"""FastAPI with our middleware."""

import os
from functools import partial
from typing import Any

import anyio
from fastapi import FastAPI
from gates import block_at, wait_at

from fungible.adapters.fastapi import CurrentSession, CurrentSubject
from fungible.sessions import SessionMiddleware
from fungible.stores import open_store

app = FastAPI()
app.add_middleware(
    SessionMiddleware,
    store=open_store(os.environ["STORE_URL"]),
    secret=os.environ["SESSION_SECRET"],
    mode=os.environ["SESSION_MODE"],
    instances=2,
    machines=1,
)


@app.get("/plain")
async def plain() -> str:
    return "plain"


@app.get("/me")
async def me(session: CurrentSession) -> dict[str, Any]:
    return dict(session)


@app.get("/subject")
async def subject(user: CurrentSubject) -> str:
    return user


@app.post("/add")
async def add(session: CurrentSession, item: str, gate: str | None = None) -> None:
    session.setdefault("cart", {"items": []})
    await wait_at(gate)
    session["cart"]["items"].append(item)
    session[f"item-{item}"] = True
    session.increment("count")


@app.post("/sign-in")
async def sign_in(session: CurrentSession, user: str) -> None:
    session["user"] = user
    await session.rotate(subject=user)


@app.post("/sign-in-blocking")
def sign_in_blocking(session: CurrentSession, user: str, gate: str | None = None) -> None:
    block_at(gate)
    session["user"] = user
    anyio.from_thread.run(partial(session.rotate, subject=user))


@app.post("/sign-out")
async def sign_out(session: CurrentSession) -> None:
    await session.end()


@app.post("/sign-out-everywhere")
async def sign_out_everywhere(session: CurrentSession) -> None:
    await session.end_all()


@app.get("/slow")
async def slow(session: CurrentSession, gate: str, reads: bool = False) -> dict[str, Any]:
    seen = dict(session)
    await wait_at(gate)
    if not reads:
        session["late"] = True
    return seen
