"""Each process gives visitors that it does not know a cookie, and no page depends on it. Mended: a visitor who has one
keeps it."""

import secrets

from tiny import MENDED, App, page

app = App()
known = set()


def counted(request, answer):
    visitor = request.cookies.get("visitor")
    if visitor in known or (visitor and MENDED):
        return answer
    visitor = secrets.token_hex(12)
    known.add(visitor)
    return answer.cookie("visitor", visitor)


@app.on("GET", "/home")
def home(request):
    return counted(request, page("<h1>Kites</h1>"))


@app.on("GET", "/about")
def about(request):
    return counted(request, page("<h1>About</h1>"))


app.serve()
