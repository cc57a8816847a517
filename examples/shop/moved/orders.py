"""Orders and their receipts. Nobody has to sign in to order: a code finds the orders again, and books each once."""

import secrets
import sqlite3
from typing import Annotated

from fastapi import APIRouter, Form, HTTPException, Request, Response
from fastapi.responses import RedirectResponse

from catalogue import Product, wanted_product
from database import connection
from state import ORDER_KEYS
from web import page

JOINED = "select orders.*, products.name from orders join products on products.id = orders.product"

router = APIRouter()


def save_order(db: sqlite3.Connection, code: str, customer: str, product: Product, quantity: int) -> str:
    """Books one order and returns its reference."""
    reference = secrets.token_hex(6).upper()
    cents = product.cents * quantity
    row = (reference, code, customer, product.id, quantity, cents)
    db.execute("insert into orders values (?, ?, ?, ?, ?, ?)", row)
    return reference


@router.post("/orders")
def order(
    request: Request,
    code: Annotated[str, Form(min_length=8)],
    customer: Annotated[str, Form(min_length=1)],
    product: Annotated[int, Form()],
    quantity: Annotated[int, Form(ge=1, le=99)] = 1,
) -> Response:
    wanted = wanted_product(product)
    # Each page that is shown has a code of its own, so a form that comes again (a retry, a double click) is one order.
    # That it was booked is known by a row in the same transaction: there are both of them, or none.
    wants = f"{product} {quantity} {customer}".encode()
    with connection() as db, ORDER_KEYS.transaction_for(code, request, db, body=wants) as once:
        if once.replay:
            return once.response.as_response(Response)
        reference = save_order(db, code, customer, wanted, quantity)
        response = RedirectResponse(f"/orders/{reference}", 303)
        once.finish(response)
    # Committed: only now is it said.
    return response


@router.get("/orders/{reference}")
def receipt(request: Request, reference: str) -> Response:
    with connection() as db:
        found = db.execute(f"{JOINED} where reference = ?", (reference,)).fetchone()
    if found is None:
        raise HTTPException(404, "There is no such order.")
    return page(request, "receipt.html", {"order": found})


@router.get("/orders")
def orders_by_code(request: Request, code: str) -> Response:
    with connection() as db:
        found = db.execute(f"{JOINED} where code = ? order by orders.rowid", (code,)).fetchall()
    return page(request, "orders.html", {"orders": found, "total": sum(order["cents"] for order in found)})
