"""Sessions in files of the temporary directory, as PHP keeps them. Mended: in a directory that all instances share."""

import json
import os
import re
import secrets
import tempfile
from pathlib import Path

from tiny import MENDED, SHARED_DIR, App, page, redirect

app = App()
DIRECTORY = SHARED_DIR if MENDED else Path(tempfile.gettempdir())


def file_of(request):
    """Where the visitor's session is, or None."""
    session = request.cookies.get("PHPSESSID", "")
    path = DIRECTORY / f"sess_{session}"
    return path if re.fullmatch("[0-9a-f]{32}", session) and path.exists() else None


@app.on("POST", "/sign-in")
def sign_in(request):
    session = secrets.token_hex(16)
    fresh = DIRECTORY / f"new_{session}"
    fresh.write_text(json.dumps({"user": request.form["user"]}))
    os.replace(fresh, DIRECTORY / f"sess_{session}")
    return redirect("/home").cookie("PHPSESSID", session)


@app.on("GET", "/home")
def home(request):
    path = file_of(request)
    return page(f"<h1>Hello {json.loads(path.read_text())['user']}</h1>") if path else redirect("/sign-in")


@app.on("POST", "/sign-out")
def sign_out(request):
    path = file_of(request)
    if path:
        path.unlink(missing_ok=True)
    return redirect("/goodbye")


app.serve()
