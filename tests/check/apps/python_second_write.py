"""The first message of a process is kept for all; the next ones wait in its memory until there are a hundred.
Mended: each is kept at once."""

import secrets

from tiny import MENDED, App, as_json, table

app = App()
messages = table("messages", shared=True)
waiting = {}
written = 0


@app.on("POST", "/messages")
def create(request):
    global written
    message = secrets.token_hex(8)
    written += 1
    if MENDED or written == 1:
        messages.put(message, request.json["text"])
    else:
        waiting[message] = request.json["text"]
    return as_json({"id": message}, 201)


@app.on("GET", "/messages/{message}")
def read(request, message):
    text = waiting.get(message) or messages.get(message)
    return as_json({"error": "no such message"}, 404) if text is None else as_json({"text": text})


app.serve()
