"""Notes in a file below ~/.config, and a log beside. Mended: in a directory that all instances share."""

import json
import secrets
from pathlib import Path

from tiny import MENDED, SHARED_DIR, App, as_json

app = App()
DIRECTORY = SHARED_DIR if MENDED else Path.home() / ".config" / "notes"
DIRECTORY.mkdir(parents=True, exist_ok=True)


@app.on("POST", "/notes")
def create(request):
    note = secrets.token_hex(8)
    (DIRECTORY / f"{note}.json").write_text(json.dumps(request.json))
    with Path("notes.log").open("a") as log:
        log.write(f"created {note}\n")
    return as_json({"id": note}, 201)


@app.on("GET", "/notes/{note}")
def read(request, note):
    path = DIRECTORY / f"{note}.json"
    return as_json(json.loads(path.read_text())) if path.exists() else as_json({"error": "no such note"}, 404)


app.serve()
