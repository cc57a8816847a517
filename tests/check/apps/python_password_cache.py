"""Passwords are shared, but each process remembers those that it has found right, and forgets only what it changes
itself. Mended: it remembers nothing."""

import base64
import secrets

from tiny import MENDED, App, as_json, table

app = App()
passwords = table("passwords", shared=True)
found_right = set()


def signed_in(request):
    """The user whose name and password the request carries, or None."""
    given = base64.b64decode(request.headers.get("Authorization", "").removeprefix("Basic ")).decode()
    user, _, password = given.partition(":")
    if given in found_right and not MENDED:
        return user
    if not user or passwords.get(user) != password:
        return None
    found_right.add(given)
    return user


@app.on("POST", "/users")
def create(request):
    user = f"user-{secrets.token_hex(6)}"
    passwords.put(user, request.json["password"])
    return as_json({"user": user}, 201)


@app.on("GET", "/me")
def me(request):
    return as_json({"signed in": True}) if signed_in(request) else as_json({"error": "wrong password"}, 401)


@app.on("PUT", "/me/password")
def change(request):
    user = signed_in(request)
    if user is None:
        return as_json({"error": "wrong password"}, 401)
    passwords.put(user, request.json["password"])
    found_right.clear()
    return as_json({"changed": True})


app.serve()
