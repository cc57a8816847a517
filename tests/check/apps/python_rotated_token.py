"""Settings are read whole and written whole, so of two writes at once one is lost. Mended: each write needs the token in
the visitor's cookie, changes its own field and draws a new token; of two that carry one token, the second is refused."""

import secrets
import time

from tiny import MENDED, App, as_json, redirect, table

app = App()
settings = table("settings", shared=True)


@app.on("POST", "/sign-in")
def sign_in(request):
    session, token = secrets.token_hex(16), secrets.token_hex(8)
    settings.put(session, {"colour": "none", "size": "none", "token": token})
    return redirect("/settings").cookie("session", session).cookie("token", token)


@app.on("PUT", "/settings/{name}")
def change(request, name):
    session, token = request.cookies.get("session", ""), request.cookies.get("token", "")
    value, fresh = request.json["value"], secrets.token_hex(8)
    taken = []

    def once(now):
        if now["token"] != token:
            return now
        taken.append(True)
        return {**now, name: value, "token": fresh}

    if MENDED:
        settings.change(session, once)
    else:
        now = settings.get(session)
        time.sleep(0.05)  # the work that the request is about
        settings.put(session, {**now, name: value})
        taken.append(True)
    return as_json({"changed": name}).cookie("token", fresh) if taken else as_json({"error": "old token"}, 409)


@app.on("GET", "/settings")
def show(request):
    found = settings.get(request.cookies.get("session", ""))
    if found is None:
        return as_json({"error": "not signed in"}, 401)
    return as_json({"colour": found["colour"], "size": found["size"]})


app.serve()
