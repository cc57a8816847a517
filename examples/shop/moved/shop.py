"""The small shop of `../naive`, with all state but uploads and exports moved out of the process: any instance can serve it.

README.md says how to run it and what has moved; `fungible check --file check.toml` proves it.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from fungible.idempotency import IdempotencyError, IdempotencyMiddleware, answer_refusal
from fungible.sessions import SessionMiddleware
from starlette.exceptions import HTTPException

import admin
import cart
import catalogue
import database
import exports
import orders
import sharing
import signing_in
import web
from state import ORDER_KEYS, SECRET, STORE

database.create_and_fill()
Path("uploads").mkdir(exist_ok=True)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Forgets which orders were booked long ago."""
    with database.connection() as db:
        await ORDER_KEYS.sweep(db)
    yield


app = FastAPI(title="Twine & Tin", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)
app.mount("/static", StaticFiles(directory=Path(__file__).parent / "static"))
app.add_exception_handler(HTTPException, web.error_page)
app.add_exception_handler(IdempotencyError, answer_refusal)
for part in (catalogue, signing_in, cart, orders, sharing, exports, admin):
    app.include_router(part.router)
# Orders know by themselves which were booked, and signing in or out again does no harm.
routes = {path: {"enabled": False} for path in ("/orders", "/login", "/logout")}
app.add_middleware(IdempotencyMiddleware, store=STORE, anonymous="share", wait_s=2, routes=routes)
# Added last, so that it stands around the others: they see who is signed in.
app.add_middleware(SessionMiddleware, store=STORE, secret=SECRET)
