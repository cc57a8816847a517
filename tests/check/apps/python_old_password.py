"""Passwords are where all instances see them, but each process remembers for 30 s which ones it has found right, and only
the one that changes a password forgets the old one. Mended: nothing is remembered."""

import secrets
import time

from tiny import MENDED, App, as_json, table

app = App()
passwords = table("passwords", shared=True)
sessions = table("sessions", shared=True)
found_right: dict[tuple[str, str], float] = {}


def is_right(user, password):
    if found_right.get((user, password), 0) > time.monotonic():
        return True
    if passwords.get(user) != password:
        return False
    if not MENDED:
        found_right[user, password] = time.monotonic() + 30
    return True


@app.on("GET", "/name")
def name(request):
    return as_json({"name": "ada" + secrets.token_hex(4)})


@app.on("POST", "/users")
def sign_up(request):
    if not passwords.add(request.json["user"], request.json["password"]):
        return as_json({"error": "the name is taken"}, 409)
    return signed_in(request.json)


@app.on("POST", "/sign-in")
def sign_in(request):
    return signed_in(request.json)


def signed_in(given):
    user = given["user"]
    if not is_right(user, given["password"]):
        return as_json({"error": "wrong password"}, 401)
    session = secrets.token_hex(16)
    sessions.put(session, user)
    return as_json({"user": user}, 201).cookie("session", session)


@app.on("POST", "/password")
def change(request):
    user = sessions.get(request.cookies.get("session", ""))
    if user is None:
        return as_json({"error": "not signed in"}, 401)
    found_right.clear()
    passwords.put(user, request.json["password"])
    return as_json({"changed": user})


@app.on("POST", "/sign-out")
def sign_out(request):
    sessions.delete(request.cookies.get("session", ""))
    return as_json({"signed": "out"}).header("Set-Cookie", "session=; Path=/; Max-Age=0")


app.serve()
