"""Opaque bearer tokens in a dict of this process. Mended: in a table that all instances share."""

import secrets

from tiny import MENDED, App, as_json, table

app = App()
tokens = table("tokens", shared=MENDED)


@app.on("POST", "/tokens")
def sign_in(request):
    token = secrets.token_urlsafe(24)
    tokens.put(token, {"user": request.json["user"], "colour": "none"})
    return as_json({"token": token}, 201)


@app.on("GET", "/me")
def me(request):
    known = tokens.get(request.bearer)
    return as_json(known) if known else as_json({"error": "unknown token"}, 401)


@app.on("PUT", "/me/colour")
def paint(request):
    colour = request.json["colour"]
    known = tokens.change(request.bearer, lambda token: {**token, "colour": colour})
    return as_json(known) if known else as_json({"error": "unknown token"}, 401)


app.serve()
