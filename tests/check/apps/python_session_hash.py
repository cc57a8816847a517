"""Sessions in a shared table, each with a hash made with a secret of this process, as Django's sessions have one.
Mended: one secret for all instances."""

import hashlib
import hmac
import secrets

from tiny import MENDED, App, page, redirect, signing_key, table

app = App()
KEY = signing_key(shared=MENDED)
sessions = table("sessions", shared=True)


def session_hash(user):
    return hmac.new(KEY, user.encode(), hashlib.sha256).hexdigest()


def user_of(request):
    """Who is signed in, or None."""
    session = sessions.get(request.cookies.get("session", "")) or {"user": "", "hash": ""}
    return session["user"] if hmac.compare_digest(session["hash"], session_hash(session["user"])) else None


@app.on("POST", "/sign-in")
def sign_in(request):
    session, user = secrets.token_urlsafe(18), request.form["user"]
    sessions.put(session, {"user": user, "hash": session_hash(user)})
    return redirect("/home").cookie("session", session)


@app.on("GET", "/home")
def home(request):
    user = user_of(request)
    return page(f"<h1>Hello {user}</h1>") if user else redirect("/sign-in")


@app.on("GET", "/settings")
def settings(request):
    user = user_of(request)
    return page(f"<h1>Settings of {user}</h1>") if user else redirect("/sign-in")


app.serve()
