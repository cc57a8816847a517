"""A shop that writes down each of its starts. All state is in files that every instance has; with FAULTY=1 its sessions are
in the process."""

import os
import secrets
import time
from pathlib import Path

from tiny import SHARED_DIR, App, MemoryTable, SqliteTable, as_json

# By the clock: random numbers may be the same at each start.
Path(os.environ["STARTED"], f"start-{time.time_ns()}-{os.getpid()}").touch()
STORE = SHARED_DIR / "shop.db"
app = App()
sessions = MemoryTable() if os.environ.get("FAULTY") else SqliteTable(STORE, "sessions")
carts, orders = SqliteTable(STORE, "carts"), SqliteTable(STORE, "orders")
DENIED = as_json({"error": "sign in first"}, 401)


def session_of(request):
    session = request.cookies.get("session", "")
    return session if sessions.get(session) else None


@app.on("POST", "/login")
def sign_in(request):
    session = secrets.token_hex(12)
    sessions.put(session, request.json["user"])
    return as_json({"user": request.json["user"]}).cookie("session", session)


@app.on("PUT", "/cart/{item}")
def put(request, item):
    session = session_of(request)
    if session is None:
        return DENIED
    cart = (carts.get(session) or {}) | {item: request.json["quantity"]}
    carts.put(session, cart)
    return as_json(cart)


@app.on("GET", "/cart")
def cart(request):
    session = session_of(request)
    return DENIED if session is None else as_json(carts.get(session) or {})


@app.on("POST", "/orders")
def order(request):
    session = session_of(request)
    if session is None:
        return DENIED
    number = secrets.token_hex(8)
    orders.put(number, carts.get(session))
    return as_json({"id": number}, 201)


@app.on("GET", "/orders/{number}")
def look(request, number):
    if session_of(request) is None:
        return DENIED
    return as_json({"id": number, "lines": orders.get(number)})


app.serve()
