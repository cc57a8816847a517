"""Pages for everybody, one for who has a token, one that answers by chance: what can't break, what can, what can't be told."""

import secrets

from tiny import App, page, redirect

app = App()
HOME = '<h1>Home</h1><a href="/about">About</a>'


@app.on("GET", "/home")
def home(request):
    return page(HOME)


@app.on("GET", "/about")
def about(request):
    return page("<h1>About</h1>")


@app.on("GET", "/me")
def me(request):
    return page("<h1>Hello</h1>") if request.bearer == "zoo" else page("sign in first", 401)


@app.on("GET", "/chance")
def chance(request):
    return page("<h1>Chance</h1>") if secrets.randbelow(2) else redirect("/home")


app.serve()
