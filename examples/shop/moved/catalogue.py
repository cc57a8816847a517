"""The catalogue, one page per product, and the products' pictures."""

import secrets
from pathlib import Path
from typing import Annotated, NamedTuple

from fastapi import APIRouter, Depends, HTTPException, Request, Response, UploadFile
from fastapi.responses import FileResponse, RedirectResponse

from database import connection, database_id
from signing_in import User
from state import CACHE
from web import page

MAX_PICTURE_BYTES = 2_000_000
PICTURE_TYPES = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg"}

router = APIRouter()


class Product(NamedTuple):
    """One thing for sale."""

    id: int
    name: str
    about: str
    cents: int


@CACHE.cached(ttl_s=300, key=lambda: f"products:{database_id()}")
def all_products() -> dict[int, Product]:
    """Every product by ID. Asked for on each page, so it is remembered, for all instances; a price change ends that."""
    with connection() as db:
        return {row["id"]: Product(*row) for row in db.execute("select * from products order by id")}


def wanted_product(product: int) -> Product:
    """The product a path names."""
    if product not in all_products():
        raise HTTPException(404, "There is no such product.")
    return all_products()[product]


Wanted = Annotated[Product, Depends(wanted_product)]


def picture_of(product: int) -> Path:
    """Where a product's picture is kept."""
    return Path("uploads") / f"product-{product}"


def picture_type(picture: bytes) -> str | None:
    """The media type by the first bytes, whatever the sender called it; None if it is no picture we take."""
    return next((kind for start, kind in PICTURE_TYPES.items() if picture.startswith(start)), None)


@router.get("/")
def catalogue(request: Request) -> Response:
    products = all_products().values()
    pictured = {product.id for product in products if picture_of(product.id).exists()}
    return page(request, "catalogue.html", {"products": products, "pictured": pictured})


@router.get("/products/{product}")
def product_page(request: Request, product: Wanted) -> Response:
    # Who orders without signing in finds the order again by this code.
    about = {"product": product, "pictured": picture_of(product.id).exists(), "code": secrets.token_urlsafe(9)}
    return page(request, "product.html", about)


@router.post("/products/{product}/picture")
def upload_picture(product: Wanted, picture: UploadFile, user: User) -> Response:
    content = picture.file.read(MAX_PICTURE_BYTES + 1)
    if len(content) > MAX_PICTURE_BYTES:
        raise HTTPException(413, "A picture may have 2 MB.")
    if picture_type(content) is None:
        raise HTTPException(415, "A picture must be a PNG or a JPEG.")
    picture_of(product.id).write_bytes(content)
    return RedirectResponse(f"/products/{product.id}", 303)


@router.get("/products/{product}/picture")
def picture(product: Wanted) -> Response:
    path = picture_of(product.id)
    if not path.exists():
        raise HTTPException(404, "This product has no picture.")
    with path.open("rb") as file:
        return FileResponse(path, media_type=picture_type(file.read(4)))
