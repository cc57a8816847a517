"""Three quotes for each key, counted in this process. Mended: in a table that all instances share."""

import secrets

from tiny import MENDED, App, as_json, table

app = App()
used = table("used", shared=MENDED)
LIMIT = 3


@app.on("POST", "/keys")
def key(request):
    # Any key will do: there is nothing to keep.
    return as_json({"key": secrets.token_hex(8)}, 201)


@app.on("GET", "/quote")
def quote(request):
    if used.increment(request.headers["X-Api-Key"]) > LIMIT:
        return as_json({"error": "limit reached"}, 429).header("Retry-After", "3600")
    return as_json({"quote": "Simplicity is prerequisite for reliability."})


app.serve()
