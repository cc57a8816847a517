"""The session is the cookie, signed with a key drawn at start, as many a Flask application does it.
Mended: one key for all instances."""

from tiny import MENDED, App, page, redirect, sign, signing_key, unsign

app = App()
KEY = signing_key(shared=MENDED)


@app.on("POST", "/sign-in")
def sign_in(request):
    return redirect("/home").cookie("session", sign(KEY, {"user": request.form["user"]}))


@app.on("GET", "/home")
def home(request):
    session = unsign(KEY, request.cookies.get("session", ""))
    return page(f"<h1>Hello {session['user']}</h1>") if session else redirect("/sign-in")


@app.on("GET", "/settings")
def settings(request):
    session = unsign(KEY, request.cookies.get("session", ""))
    return page(f"<h1>Settings of {session['user']}</h1>") if session else redirect("/sign-in")


app.serve()
