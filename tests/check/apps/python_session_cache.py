"""Sessions are shared, but each process believes the ones it has seen, so a sign-out elsewhere goes unnoticed.
Mended: it asks the table each time."""

import secrets

from tiny import MENDED, App, page, redirect, table

app = App()
sessions = table("sessions", shared=True)
believed = {}


def user_of(request):
    """Who is signed in, or None."""
    session = request.cookies.get("session", "")
    user = believed.get(session) or sessions.get(session)
    if user and not MENDED:
        believed[session] = user
    return user


@app.on("POST", "/sign-in")
def sign_in(request):
    session = secrets.token_urlsafe(18)
    sessions.put(session, request.form["user"])
    return redirect("/home").cookie("session", session)


@app.on("GET", "/home")
def home(request):
    user = user_of(request)
    return page(f"<h1>Hello {user}</h1>") if user else redirect("/sign-in")


@app.on("POST", "/sign-out")
def sign_out(request):
    session = request.cookies.get("session", "")
    sessions.delete(session)
    believed.pop(session, None)
    return redirect("/goodbye")


app.serve()
