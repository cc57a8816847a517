"""Orders and their receipts. Nobody has to sign in to order: a code finds the orders again."""

import secrets
from typing import Annotated

from fastapi import APIRouter, Form, HTTPException, Request, Response
from fastapi.responses import RedirectResponse

from catalogue import Product, wanted_product
from database import connection
from web import page

JOINED = "select orders.*, products.name from orders join products on products.id = orders.product"

router = APIRouter()


def save_order(code: str, customer: str, product: Product, quantity: int) -> str:
    """Books one order and returns its reference."""
    reference = secrets.token_hex(6).upper()
    with connection() as db:
        cents = product.cents * quantity
        row = (reference, code, customer, product.id, quantity, cents)
        db.execute("insert into orders values (?, ?, ?, ?, ?, ?)", row)
    return reference


@router.post("/orders")
def order(
    code: Annotated[str, Form(min_length=8)],
    customer: Annotated[str, Form(min_length=1)],
    product: Annotated[int, Form()],
    quantity: Annotated[int, Form(ge=1, le=99)] = 1,
) -> Response:
    # A browser that sends this twice (a retry, a double click) has ordered twice.
    reference = save_order(code, customer, wanted_product(product), quantity)
    return RedirectResponse(f"/orders/{reference}", 303)


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
