"""Links to a cart: the link carries the cart itself, signed, so nothing is stored."""

from collections import Counter
from typing import Annotated

from fastapi import APIRouter, Form, HTTPException, Request, Response
from itsdangerous import BadSignature, URLSafeSerializer

from cart import cart_lines
from catalogue import wanted_product
from state import SIGNING_KEY
from web import page

router = APIRouter()
links = URLSafeSerializer(SIGNING_KEY, salt="shared cart")


@router.post("/share")
def share(request: Request, product: Annotated[list[int], Form()]) -> Response:
    products = [wanted_product(one).id for one in product]
    return page(request, "share.html", {"path": f"/shared/{links.dumps(products)}", **cart_lines(Counter(products))})


@router.get("/shared/{link}")
def shared(request: Request, link: str) -> Response:
    try:
        products = links.loads(link)
    except BadSignature as error:
        raise HTTPException(403, "This link was not made by this shop, or it was changed.") from error
    return page(request, "shared.html", cart_lines(Counter(products)))
