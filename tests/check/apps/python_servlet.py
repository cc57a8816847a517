"""Sessions in this process, as a servlet container has them: who comes with an unknown one gets a new one, whatever the
page. Mended: in a table that all instances share."""

import secrets

from tiny import MENDED, App, page, redirect, table

app = App()
sessions = table("sessions", shared=MENDED)


def with_session(request, answer_for):
    """The answer for a visitor's session, with a cookie where it is a new one."""
    session = request.cookies.get("JSESSIONID", "")
    if sessions.get(session) is not None:
        return answer_for(session)
    session = secrets.token_hex(16).upper()
    sessions.put(session, [])
    return answer_for(session).cookie("JSESSIONID", session)


@app.on("GET", "/shop")
def shop(request):
    return with_session(request, lambda session: page("<h1>Kites</h1>"))


@app.on("POST", "/basket")
def add(request):
    def answer_for(session):
        sessions.change(session, lambda items: [*items, request.form["item"]])
        return redirect("/basket")

    return with_session(request, answer_for)


@app.on("GET", "/basket")
def basket(request):
    return with_session(request, lambda session: page(f"<p>Basket: {', '.join(sessions.get(session)) or 'empty'}</p>"))


app.serve()
