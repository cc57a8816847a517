"""Wrong passwords are counted in an SQLite file of this instance. Mended: in one that all instances share."""

import secrets
from pathlib import Path

from tiny import MENDED, SHARED_DIR, App, SqliteTable, as_json

app = App()
failures = SqliteTable((SHARED_DIR if MENDED else Path(".")) / "failures.db", "failures")
MAX_FAILURES = 3


@app.on("POST", "/users")
def register(request):
    # Any name will do, the password is always the same: there is nothing to keep.
    return as_json({"user": f"user-{secrets.token_hex(6)}"}, 201)


@app.on("POST", "/sign-in")
def sign_in(request):
    user = request.json["user"]
    if (failures.get(user) or 0) >= MAX_FAILURES:
        return as_json({"error": "this account is locked"}, 403)
    if request.json["password"] != "correct horse":
        failures.increment(user)
        return as_json({"error": "wrong password"}, 401)
    return as_json({"welcome": user})


app.serve()
