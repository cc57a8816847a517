"""A conversion goes on after its answer, known to this process alone. Mended: in a table that all instances share."""

import secrets

from tiny import MENDED, App, as_json, table

app = App()
looks = table("looks", shared=MENDED)
NEEDED = 3
"""How often it is asked for before it is ready: no clock, so that a slow machine sees the same."""


@app.on("POST", "/conversions")
def start(request):
    conversion = secrets.token_hex(8)
    looks.put(conversion, 0)
    return as_json({"id": conversion}, 201)


@app.on("GET", "/conversions/{conversion}")
def look(request, conversion):
    if looks.get(conversion) is None:
        return as_json({"error": "no such conversion"}, 404)
    return as_json({"outcome": "ready" if looks.increment(conversion) > NEEDED else "thinking"})


app.serve()
