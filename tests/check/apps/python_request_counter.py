"""Orders sent again are second orders, and pages tell how many requests this process has served.
Mended: an Idempotency-Key is remembered; the counter counts on."""

import secrets

from tiny import MENDED, App, as_json, page, table, text

app = App(idempotent=MENDED)
baskets = table("baskets", shared=True)
served = 0
handle = app.answer


def counting(request):
    global served
    served += 1
    return handle(request)


app.answer = counting


@app.on("GET", "/basket")
def basket(request):
    return as_json({"basket": secrets.token_hex(8)})


@app.on("POST", "/baskets/{basket}/orders")
def order(request, basket):
    baskets.add(basket, 0)
    baskets.change(basket, lambda count: count + 1)
    return text("ordered")


@app.on("GET", "/baskets/{basket}")
def orders(request, basket):
    return page(f"<p>Orders: {baskets.get(basket) or 0}</p><footer>Request {served} of this process</footer>")


@app.on("GET", "/metrics")
def metrics(request):
    lines = ["# TYPE http_requests_total counter", f'http_requests_total{{method="POST"}} {served}']
    return text("\n".join(lines), kind="text/plain; version=0.0.4")


app.serve()
