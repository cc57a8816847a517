"""What the administrator may do: change prices, unlock users, export orders."""

from typing import Annotated

from fastapi import APIRouter, Depends, Form, HTTPException, Request, Response
from fastapi.responses import RedirectResponse

from catalogue import all_products, wanted_product
from database import connection
from signing_in import User
from state import LIMITER, SIGN_INS
from web import page


def administrator(user: User) -> None:
    """Lets nobody else in."""
    if user != "admin":
        raise HTTPException(403, "Only the administrator may do this.")


router = APIRouter(prefix="/admin", dependencies=[Depends(administrator)])


@router.get("")
def overview(request: Request) -> Response:
    return page(request, "admin.html", {"products": all_products().values()})


@router.post("/prices")
def change_price(product: Annotated[int, Form()], euros: Annotated[float, Form(ge=0, le=10_000)]) -> Response:
    wanted_product(product)
    with connection() as db:
        db.execute("update products set cents = ? where id = ?", (round(euros * 100), product))
    # Only now that the price is in the database. No instance shows the old one any more.
    all_products.invalidate()
    return RedirectResponse("/admin", 303)


@router.post("/unlock")
async def unlock(user: Annotated[str, Form()]) -> Response:
    await LIMITER.reset(SIGN_INS, user)
    return RedirectResponse("/admin", 303)
