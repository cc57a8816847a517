"""Uploaded files in a directory of this instance, and which there are in its memory. Mended: both are shared."""

import secrets
from pathlib import Path

from tiny import MENDED, SHARED_DIR, Answer, App, as_json, table, text

app = App()
UPLOADS = (SHARED_DIR if MENDED else Path(".")) / "uploads"
names = table("names", shared=MENDED)


@app.on("POST", "/files")
def upload(request):
    file = secrets.token_hex(8)
    UPLOADS.mkdir(exist_ok=True)
    (UPLOADS / file).write_bytes(request.files["file"])
    names.put(file, str(UPLOADS / file))
    return as_json({"id": file}, 201)


@app.on("GET", "/files/{file}")
def download(request, file):
    path = names.get(file)
    if path is None:
        return text("no such file", 404)
    return Answer(200, Path(path).read_bytes(), [("Content-Type", "application/octet-stream")])


app.serve()
