"""Wrong passwords are counted in this process. Mended: in a table that all instances share."""

import secrets

from tiny import MENDED, App, as_json, table

app = App()
failures = table("failures", shared=MENDED)
MAX_FAILURES = 3


@app.on("POST", "/users")
def register(request):
    # Any name will do, the password is always the same: there is nothing to keep.
    return as_json({"user": f"user-{secrets.token_hex(6)}"}, 201)


@app.on("POST", "/sign-in")
def sign_in(request):
    user, password = request.json["user"], request.json["password"]
    if (failures.get(user) or 0) >= MAX_FAILURES:
        return as_json({"error": "too many wrong passwords"}, 429)
    if password != "correct horse":
        failures.increment(user)
        return as_json({"error": "wrong password"}, 401)
    return as_json({"welcome": user})


app.serve()
