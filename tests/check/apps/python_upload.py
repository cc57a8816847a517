"""Uploaded files in a directory of this instance. Mended: in one that all instances share."""

import re
import secrets
from pathlib import Path

from tiny import MENDED, SHARED_DIR, Answer, App, as_json, text

app = App()
UPLOADS = (SHARED_DIR if MENDED else Path(".")) / "uploads"


@app.on("POST", "/files")
def upload(request):
    file = secrets.token_hex(8)
    UPLOADS.mkdir(exist_ok=True)
    (UPLOADS / file).write_bytes(request.files["file"])
    return as_json({"id": file}, 201)


@app.on("GET", "/files/{file}")
def download(request, file):
    path = UPLOADS / file
    if not re.fullmatch("[0-9a-f]{16}", file) or not path.exists():
        return text("no such file", 404)
    return Answer(200, path.read_bytes(), [("Content-Type", "application/octet-stream")])


@app.on("GET", "/files/{file}/size")
def size(request, file):
    path = UPLOADS / file
    if not re.fullmatch("[0-9a-f]{16}", file) or not path.exists():
        return text("no such file", 404)
    return as_json({"bytes": path.stat().st_size})


app.serve()
