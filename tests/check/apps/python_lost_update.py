"""Sessions are files that all instances share, read whole at the start of a request and written whole at its end:
of two requests at once, one loses what it changed. Mended: only the changed field is written, under a lock."""

import json
import os
import re
import secrets
import time

from tiny import MENDED, SHARED_DIR, App, as_json, redirect, table

app = App()
mended_sessions = table("sessions", shared=True)


def file_of(session):
    return SHARED_DIR / f"session_{re.sub('[^0-9a-f]', '', session)}.json"


def load(session):
    """The settings, or None."""
    if MENDED:
        return mended_sessions.get(session)
    path = file_of(session)
    return json.loads(path.read_text()) if path.exists() else None


def save(session, settings):
    if MENDED:
        mended_sessions.put(session, settings)
        return
    fresh = SHARED_DIR / f"new_{secrets.token_hex(4)}"
    fresh.write_text(json.dumps(settings))
    os.replace(fresh, file_of(session))


@app.on("POST", "/sign-in")
def sign_in(request):
    session = secrets.token_hex(16)
    save(session, {"user": request.form["user"], "colour": "none", "size": "none"})
    return redirect("/settings").cookie("session", session)


@app.on("PUT", "/settings/{name}")
def change(request, name):
    session, value = request.cookies.get("session", ""), request.json["value"]
    settings = load(session)
    if settings is None:
        return as_json({"error": "not signed in"}, 401)
    time.sleep(0.02)  # the work that the request is about
    if MENDED:
        mended_sessions.change(session, lambda now: {**now, name: value})
    else:
        save(session, {**settings, name: value})
    return as_json({"changed": name})


@app.on("GET", "/settings")
def show(request):
    settings = load(request.cookies.get("session", ""))
    return as_json(settings) if settings else as_json({"error": "not signed in"}, 401)


app.serve()
