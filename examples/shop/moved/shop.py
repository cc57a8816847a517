"""The small shop of `../naive`, with sign-in and cart moved out of the process: any instance can serve them.

README.md says how to run it and what has moved; `fungible check --file check.toml` proves it.
"""

from pathlib import Path

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
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
from state import SECRET, STORE

database.create_and_fill()
Path("uploads").mkdir(exist_ok=True)
Path("sessions").mkdir(exist_ok=True)

app = FastAPI(title="Twine & Tin", docs_url=None, redoc_url=None, openapi_url=None)
app.mount("/static", StaticFiles(directory=Path(__file__).parent / "static"))
app.add_exception_handler(HTTPException, web.error_page)
for part in (catalogue, signing_in, cart, orders, sharing, exports, admin):
    app.include_router(part.router)
app.add_middleware(SessionMiddleware, store=STORE, secret=SECRET)
