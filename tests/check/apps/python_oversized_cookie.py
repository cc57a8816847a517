"""The session is a signed cookie of more than 4096 bytes, which browsers drop. Mended: the cookie holds an ID alone."""

import secrets

from tiny import MENDED, App, page, redirect, sign, signing_key, table, unsign

app = App()
KEY = signing_key(shared=True)
sessions = table("sessions", shared=True)
PERMISSIONS = [f"may:read:document:{number:04}" for number in range(160)]


@app.on("POST", "/sign-in")
def sign_in(request):
    session = {"user": request.form["user"], "permissions": PERMISSIONS}
    if not MENDED:
        return redirect("/home").cookie("session", sign(KEY, session))
    key = secrets.token_urlsafe(18)
    sessions.put(key, session)
    return redirect("/home").cookie("session", key)


@app.on("GET", "/home")
def home(request):
    cookie = request.cookies.get("session", "")
    session = sessions.get(cookie) if MENDED else unsign(KEY, cookie)
    if session is None:
        return redirect("/sign-in")
    return page(f"<h1>Hello {session['user']}</h1><p>{len(session['permissions'])} permissions</p>")


app.serve()
