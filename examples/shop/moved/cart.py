"""The cart of a visitor who is signed in."""

import secrets
from typing import Annotated

from fastapi import APIRouter, Depends, Form, HTTPException, Request, Response
from fastapi.responses import RedirectResponse

from catalogue import all_products, wanted_product
from database import connection
from orders import save_order
from signing_in import SignedIn
from web import page

router = APIRouter()


def cart_lines(quantities: dict[int, int]) -> dict[str, object]:
    """What the templates show of a cart: its lines with products and prices, and the sum."""
    lines = [(product, quantities[product.id]) for product in all_products().values() if quantities.get(product.id)]
    return {"lines": lines, "total": sum(product.cents * quantity for product, quantity in lines)}


def quantities(session: SignedIn) -> dict[int, int]:
    """Product ID -> quantity. The keys of mappings in a session are strings."""
    return {int(product): quantity for product, quantity in session.get("cart", {}).items() if quantity > 0}


Quantities = Annotated[dict[int, int], Depends(quantities)]


@router.get("/cart")
def view(request: Request, cart: Quantities) -> Response:
    return page(request, "cart.html", cart_lines(cart))


@router.post("/cart")
def add(
    session: SignedIn, product: Annotated[int, Form()], quantity: Annotated[int, Form(ge=1, le=99)] = 1
) -> Response:
    wanted_product(product)
    # Added, not set: of two requests at once, on two instances, neither loses the other's.
    session.increment(("cart", str(product)), quantity)
    return RedirectResponse("/cart", 303)


@router.post("/cart/order")
def order(session: SignedIn, cart: Quantities) -> Response:
    if not cart:
        raise HTTPException(409, "The cart is empty.")
    code = secrets.token_urlsafe(9)
    with connection() as db:
        for product, quantity in cart.items():
            save_order(db, code, session["user"], wanted_product(product), quantity)
    for product, quantity in cart.items():
        # Only what was ordered goes: what another request adds meanwhile stays in the cart.
        session.increment(("cart", str(product)), -quantity)
    return RedirectResponse(f"/orders?code={code}", 303)
