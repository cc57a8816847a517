"""Notes are shared, but each process opens its index at its first request, and that request is answered without it: a
read finds nothing. Any later one is right. Mended: the index is opened before the first request."""

import secrets

from tiny import MENDED, App, as_json, table

app = App()
notes = table("notes", shared=True)
opened = {"index"} if MENDED else set()


@app.on("POST", "/notes")
def create(request):
    opened.add("index")
    note = secrets.token_hex(8)
    notes.put(note, request.json["text"])
    return as_json({"id": note}, 201)


@app.on("GET", "/notes/{note}")
def read(request, note):
    text = notes.get(note) if "index" in opened else None
    opened.add("index")
    return as_json({"error": "no such note"}, 404) if text is None else as_json({"text": text})


app.serve()
