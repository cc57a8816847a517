"""Notes in an SQLite file of the working directory. Mended: in one that all instances share."""

import secrets
from pathlib import Path

from tiny import MENDED, SHARED_DIR, App, SqliteTable, as_json

app = App()
notes = SqliteTable(SHARED_DIR / "notes.db" if MENDED else Path("notes.db"), "notes")


@app.on("POST", "/notes")
def create(request):
    note = secrets.token_hex(8)
    notes.put(note, request.json["text"])
    return as_json({"id": note}, 201)


@app.on("GET", "/notes/{note}")
def read(request, note):
    text = notes.get(note)
    return as_json({"id": note, "text": text}) if text else as_json({"error": "no such note"}, 404)


@app.on("PUT", "/notes/{note}")
def update(request, note):
    changed = notes.change(note, lambda _: request.json["text"])
    return as_json({"id": note, "text": changed}) if changed else as_json({"error": "no such note"}, 404)


app.serve()
