"""Stateless, but no two answers are alike: everything here that differs must be taken for noise."""

import email.utils
import gzip
import hashlib
import os
import random
import secrets
import socket
import sys
import time
import uuid
from datetime import UTC, datetime

from tiny import Answer, App, as_json, page, redirect, sign, signing_key, table, text, unsign

app = App()
KEY = signing_key(shared=True)
notes = table("notes", shared=True)
INSTANCE = f"{socket.gethostname()}:{sys.argv[1]} (process {os.getpid()})"
TAGS = ["tea", "twine", "tin", "wool", "brass", "linen", "beech"]
ADS = ["Ladders from 19.90!", "Two kites for one", "Visit the seaside", "Nobody regrets a hammock"]


def shuffled(values):
    return random.sample(values, len(values))


def noisy(answer):
    """Adds the headers that differ each time."""
    digest = hashlib.sha256(answer.body).hexdigest()[:20]
    answer.header("ETag", f'"{digest}"').header("X-Request-Id", str(uuid.uuid4()))
    answer.header("Server-Timing", f"db;dur={random.random() * 9:.2f}").header("X-Served-By", INSTANCE)
    return answer.header("Last-Modified", email.utils.formatdate(usegmt=True))


@app.on("GET", "/home")
def home(request):
    token = secrets.token_urlsafe(12)
    items = "".join(f"<li>{tag}</li>" for tag in shuffled(TAGS))
    answer = page(
        f"<h1>Notes</h1><p>It is {datetime.now(UTC):%A, %d %B %Y %H:%M:%S}</p><ul>{items}</ul>"
        f'<form method="post" action="/notes"><input type="hidden" name="csrf" value="{sign(KEY, token)}">'
        f'<input name="text"></form><aside data-ad="{random.randrange(10**9)}">{random.choice(ADS)}</aside>'
        f'<a href="http://{request.headers["Host"]}/home?from={uuid.uuid4()}">again</a>'
        f"<script nonce={secrets.token_urlsafe(8)}>window.started = {time.time()}</script>"
        f"<footer>Made in {random.random():.3f} s by {INSTANCE}</footer>"
    )
    return noisy(answer.cookie("csrf", token))


@app.on("POST", "/notes")
def create(request):
    if unsign(KEY, request.form["csrf"]) != request.cookies.get("csrf"):
        return text("the CSRF token is not valid", 403)
    note = str(uuid.uuid4())
    notes.put(note, request.form["text"])
    return noisy(redirect(f"http://{request.headers['Host']}/notes/{note}"))


@app.on("GET", "/notes/{note}")
def read(request, note):
    found = notes.get(note)
    if found is None:
        return noisy(as_json({"error": "no such note", "trace": uuid.uuid4().hex}, 404))
    now = time.time()
    value = {
        "id": note,
        "text": found,
        "tags": shuffled(TAGS),
        "read": {"iso": datetime.now(UTC).isoformat(), "unix": now, "ms": int(now * 1000)},
        "http": email.utils.formatdate(usegmt=True),
        "self": f"http://{request.headers['Host']}/notes/{note}",
        "request": secrets.token_hex(16),
        "served_by": {"host": socket.gethostname(), "port": int(sys.argv[1]), "pid": os.getpid()},
        "next_poll_ms": random.randrange(1000, 2000),
    }
    return noisy(as_json(dict(shuffled(list(value.items())))))


@app.on("GET", "/feed")
def feed(request):
    entries = "".join(f"<entry><id>urn:uuid:{uuid.uuid4()}</id><title>{tag}</title></entry>" for tag in TAGS)
    body = f"<feed><updated>{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}</updated>{entries}</feed>"
    answer = text(body, kind="application/atom+xml")
    if "gzip" in request.headers.get("Accept-Encoding", ""):
        answer = Answer(200, gzip.compress(answer.body), [*answer.headers, ("Content-Encoding", "gzip")])
    return noisy(answer.header("Vary", "Accept-Encoding"))


@app.on("DELETE", "/notes/{note}")
def delete(request, note):
    return noisy(Answer(204) if notes.delete(note) else as_json({"error": "no such note"}, 404))


app.serve()
