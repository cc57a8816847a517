"""Sessions in a dict of each of an instance's workers. Mended: in a table that all workers of all instances share."""

import os
import secrets

from tiny import MENDED, App, page, redirect, table

app = App()
sessions = table("sessions", shared=MENDED)


@app.on("POST", "/sign-in")
def sign_in(request):
    session = secrets.token_urlsafe(18)
    sessions.put(session, {"user": request.form["user"], "cart": []})
    return redirect("/home").cookie("session", session)


@app.on("GET", "/home")
def home(request):
    session = sessions.get(request.cookies.get("session", ""))
    if session is None:
        return redirect("/sign-in")
    return page(f"<h1>Hello {session['user']}</h1><p>In the cart: {', '.join(session['cart']) or 'nothing'}</p>")


@app.on("POST", "/cart")
def add(request):
    item = request.form["item"]
    changed = sessions.change(
        request.cookies.get("session", ""), lambda session: {**session, "cart": [*session["cart"], item]}
    )
    return redirect("/home" if changed else "/sign-in")


app.serve(workers=int(os.environ.get("WORKERS", "3")))
