"""Acknowledges a message at once and writes it to the shared table a little later. Mended: writes, then acknowledges."""

import secrets
import threading

from tiny import MENDED, App, as_json, table

app = App()
messages = table("messages", shared=True)


@app.on("POST", "/messages")
def create(request):
    message = secrets.token_hex(8)
    if MENDED:
        messages.put(message, request.json["text"])
    else:
        threading.Timer(0.3, messages.put, (message, request.json["text"])).start()
    return as_json({"id": message}, 201)


@app.on("GET", "/messages/{message}")
def read(request, message):
    text = messages.get(message)
    return as_json({"text": text}) if text else as_json({"error": "no such message"}, 404)


app.serve()
