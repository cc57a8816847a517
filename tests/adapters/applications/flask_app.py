"""Flask with our sessions."""

import os
from typing import Any

from flask import Flask, request
from gates import block_at, wait_at

from fungible.adapters.flask import FungibleSessions, session
from fungible.stores import open_store

app = Flask(__name__)
app.secret_key = os.environ["SESSION_SECRET"]
FungibleSessions(
    app, store=open_store(os.environ["STORE_URL"]), mode=os.environ["SESSION_MODE"], instances=2, machines=1
)


@app.get("/plain")
def plain() -> str:
    return "plain"


@app.get("/me")
def me() -> dict[str, Any]:
    return dict(session)


@app.post("/add")
def add() -> dict[str, Any]:
    session.setdefault("cart", {"items": []})
    block_at(request.args.get("gate"))
    put(request.args["item"])
    return {}


@app.post("/add-async")
async def add_async() -> dict[str, Any]:
    session.setdefault("cart", {"items": []})
    await wait_at(request.args.get("gate"))
    put(request.args["item"])
    return {}


def put(item: str) -> None:
    session["cart"]["items"].append(item)
    session[f"item-{item}"] = True
    session.increment("count")


@app.post("/sign-in")
def sign_in() -> dict[str, Any]:
    session["user"] = request.args["user"]
    session.rotate(subject=request.args["user"])
    return {}


@app.post("/sign-out")
def sign_out() -> dict[str, Any]:
    session.end()
    return {}


@app.post("/sign-out-everywhere")
def sign_out_everywhere() -> dict[str, Any]:
    session.end_all()
    return {}


@app.get("/slow")
def slow() -> dict[str, Any]:
    seen = dict(session)
    block_at(request.args["gate"])
    if "reads" not in request.args:
        session["late"] = True
    return seen
