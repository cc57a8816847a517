"""Sessions in files of the temporary directory; who comes without one is sent to sign in, who comes with an unknown
one is told that it has expired. Mended: in a directory that all instances share."""

import json
import re
import secrets
import tempfile
from pathlib import Path

from tiny import MENDED, SHARED_DIR, App, page, redirect

app = App()
DIRECTORY = SHARED_DIR if MENDED else Path(tempfile.gettempdir())


@app.on("POST", "/sign-in")
def sign_in(request):
    session = secrets.token_hex(16)
    (DIRECTORY / f"sess_{session}").write_text(json.dumps({"user": request.form["user"]}))
    return redirect("/home").cookie("sid", session)


@app.on("GET", "/home")
def home(request):
    session = request.cookies.get("sid")
    if session is None:
        return redirect("/sign-in")
    path = DIRECTORY / f"sess_{session}"
    if not re.fullmatch("[0-9a-f]{32}", session) or not path.exists():
        return page("<h1>Your session has expired</h1>", 403)
    return page(f"<h1>Hello {json.loads(path.read_text())['user']}</h1>")


app.serve()
