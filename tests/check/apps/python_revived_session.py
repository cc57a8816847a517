"""A slow request writes the whole session back at its end, and so brings back one that was signed out meanwhile.
Mended: it changes the session only where it still is."""

import secrets
import time

from tiny import MENDED, App, page, redirect, table

app = App()
sessions = table("sessions", shared=True)


@app.on("POST", "/sign-in")
def sign_in(request):
    session = secrets.token_urlsafe(18)
    sessions.put(session, {"user": request.form["user"], "draft": ""})
    return redirect("/home").cookie("session", session)


@app.on("POST", "/draft")
def save(request):
    key, draft = request.cookies.get("session", ""), request.form["draft"]
    session = sessions.get(key)
    if session is None:
        return redirect("/sign-in")
    time.sleep(0.3)  # the work that the request is about
    if MENDED:
        kept = sessions.change(key, lambda now: {**now, "draft": draft})
        return redirect("/home" if kept else "/sign-in")
    sessions.put(key, {**session, "draft": draft})
    return redirect("/home")


@app.on("GET", "/home")
def home(request):
    session = sessions.get(request.cookies.get("session", ""))
    return page(f"<h1>Hello {session['user']}</h1><p>{session['draft']}</p>") if session else redirect("/sign-in")


@app.on("POST", "/sign-out")
def sign_out(request):
    time.sleep(0.1)  # shorter than the other, so that it ends while the other is under way
    sessions.delete(request.cookies.get("session", ""))
    return redirect("/goodbye")


app.serve()
