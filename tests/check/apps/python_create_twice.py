"""An order sent again is a second order. Mended: an Idempotency-Key is remembered where all instances see it."""

import secrets

from tiny import MENDED, App, as_json, table

app = App(idempotent=MENDED)
baskets = table("baskets", shared=True)


@app.on("GET", "/basket")
def basket(request):
    return as_json({"basket": secrets.token_hex(8)})


@app.on("POST", "/orders")
def order(request):
    number = secrets.token_hex(8)
    baskets.add(request.json["basket"], [])
    baskets.change(request.json["basket"], lambda orders: [*orders, number])
    return as_json({"order": number}, 201)


@app.on("GET", "/baskets/{basket}/orders")
def orders(request, basket):
    found = baskets.get(basket) or []
    return as_json({"count": len(found), "orders": found})


app.serve()
