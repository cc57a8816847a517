"""Shared carts: the link carries the cart itself, signed, so nothing is stored, and any instance can open it."""

from collections import Counter
from typing import Annotated

from fastapi import APIRouter, Form, HTTPException, Request, Response
from fungible.tokens import InvalidTokenError

from cart import cart_lines
from catalogue import wanted_product
from state import LINK_ISSUER, LINK_VERIFIER
from web import page

router = APIRouter()


@router.post("/share")
def share(request: Request, product: Annotated[list[int], Form(max_length=100)]) -> Response:
    products = [wanted_product(one).id for one in product]
    link = LINK_ISSUER.issue("anybody", {"products": products})
    return page(request, "share.html", {"path": f"/shared/{link}", **cart_lines(Counter(products))})


@router.get("/shared/{link}")
def shared(request: Request, link: str) -> Response:
    try:
        products = LINK_VERIFIER.verify(link).claims["products"]
    except InvalidTokenError as error:
        raise HTTPException(403, "This link was not made by this shop, was changed, or is too old.") from error
    return page(request, "shared.html", cart_lines(Counter(products)))
