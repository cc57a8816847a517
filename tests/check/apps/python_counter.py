"""Queues are shared, but the number of the next ticket is counted in this process. Mended: counted in the table."""

import secrets

from tiny import MENDED, App, as_json, table

app = App()
queues = table("queues", shared=True)
numbers = table("numbers", shared=MENDED)


@app.on("POST", "/queues")
def open_queue(request):
    queue = secrets.token_hex(8)
    queues.put(queue, {"name": request.json["name"]})
    return as_json({"id": queue}, 201)


@app.on("POST", "/queues/{queue}/tickets")
def draw(request, queue):
    if queues.get(queue) is None:
        return as_json({"error": "no such queue"}, 404)
    return as_json({"number": numbers.increment(queue)}, 201)


app.serve()
