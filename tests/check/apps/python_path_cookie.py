"""Sessions in the process, and a cookie for one path alone, which is reached by a Location of a query only: `?db=notes`.
Mended: sessions are where all instances see them."""

import secrets

from tiny import MENDED, App, page, redirect, table

app = App()
sessions = table("sessions", shared=MENDED)


@app.on("POST", "/admin.php")
def sign_in(request):
    session = secrets.token_hex(16)
    sessions.put(session, {"user": request.form["user"]})
    cookie = f"key={session}; Path=/admin.php; HttpOnly; SameSite=Lax"
    return redirect(f"?db=notes&user={request.form['user']}").header("Set-Cookie", cookie)


@app.on("GET", "/admin.php")
def tables(request):
    session = sessions.get(request.cookies.get("key", ""))
    if session is None:
        return page("<h1>Sign in</h1>", 403)
    return page(f"<h1>{session['user']}</h1><p>Tables of {request.query['db']}</p>")


app.serve()
