"""The cart of a visitor who is signed in."""

import secrets
from collections import Counter
from typing import Annotated

from fastapi import APIRouter, Form, HTTPException, Request, Response
from fastapi.responses import RedirectResponse

from catalogue import all_products, wanted_product
from orders import save_order
from signing_in import Session
from state import carts, sessions
from web import page

router = APIRouter()


def cart_lines(quantities: dict[int, int]) -> dict[str, object]:
    """What the templates show of a cart: its lines with products and prices, and the sum."""
    lines = [(product, quantities[product.id]) for product in all_products().values() if quantities.get(product.id)]
    return {"lines": lines, "total": sum(product.cents * quantity for product, quantity in lines)}


@router.get("/cart")
def view(request: Request, session: Session) -> Response:
    return page(request, "cart.html", cart_lines(carts.get(session, {})))


@router.post("/cart")
def add(session: Session, product: Annotated[int, Form()], quantity: Annotated[int, Form(ge=1, le=99)] = 1) -> Response:
    wanted_product(product)
    carts.setdefault(session, Counter())[product] += quantity
    return RedirectResponse("/cart", 303)


@router.post("/cart/order")
def order(session: Session) -> Response:
    cart = carts.pop(session, None)
    if not cart:
        raise HTTPException(409, "The cart is empty.")
    code = secrets.token_urlsafe(9)
    for product, quantity in cart.items():
        save_order(code, sessions[session], wanted_product(product), quantity)
    return RedirectResponse(f"/orders?code={code}", 303)
