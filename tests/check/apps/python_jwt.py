"""A JWT (RFC 7519, HS256) signed with a key drawn at start. Mended: one key for all instances."""

import base64
import hashlib
import hmac
import json
import time

from tiny import MENDED, App, as_json, signing_key

app = App()
KEY = signing_key(shared=MENDED)


def encoded(content):
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


def signed(text):
    return encoded(hmac.new(KEY, text.encode(), hashlib.sha256).digest())


def issue(claims):
    text = ".".join(encoded(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims))
    return f"{text}.{signed(text)}"


def verify(token):
    """The claims, or None."""
    text, _, signature = token.rpartition(".")
    if not hmac.compare_digest(signed(text), signature):
        return None
    claims = json.loads(base64.urlsafe_b64decode(text.split(".")[1] + "=="))
    return claims if claims["exp"] > time.time() else None


@app.on("POST", "/token")
def token(request):
    now = int(time.time())
    return as_json({"access_token": issue({"sub": request.form["user"], "iat": now, "exp": now + 600})})


@app.on("GET", "/me")
def me(request):
    claims = verify(request.bearer)
    return as_json({"user": claims["sub"]}) if claims else as_json({"error": "invalid_token"}, 401)


@app.on("GET", "/invoices")
def invoices(request):
    claims = verify(request.bearer)
    return as_json({"invoices": ["2026-01"]}) if claims else as_json({"error": "invalid_token"}, 401)


app.serve()
