"""A small shop, as a first version would be: `uvicorn shop:app`, then http://127.0.0.1:8000.

It works on one instance. README.md says what breaks on two, and `fungible check --file check.toml` shows it.
"""

from pathlib import Path

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
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

database.create_and_fill()
Path("uploads").mkdir(exist_ok=True)

app = FastAPI(title="Twine & Tin", docs_url=None, redoc_url=None, openapi_url=None)
app.mount("/static", StaticFiles(directory=Path(__file__).parent / "static"))
app.add_exception_handler(HTTPException, web.error_page)
for part in (catalogue, signing_in, cart, orders, sharing, exports, admin):
    app.include_router(part.router)
