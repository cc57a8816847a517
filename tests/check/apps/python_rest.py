"""JSON resources in a dict of this process. Mended: in a table that all instances share."""

import secrets

from tiny import MENDED, Answer, App, as_json, table

app = App()
tasks = table("tasks", shared=MENDED)


@app.on("POST", "/tasks")
def create(request):
    task = secrets.token_hex(8)
    tasks.put(task, {"title": request.json["title"], "done": False})
    return as_json({"id": task}, 201).header("Location", f"/tasks/{task}")


@app.on("GET", "/tasks/{task}")
def read(request, task):
    found = tasks.get(task)
    return as_json(found) if found else as_json({"error": "no such task"}, 404)


@app.on("PATCH", "/tasks/{task}")
def update(request, task):
    changed = tasks.change(task, lambda found: {**found, "done": request.json["done"]})
    return as_json(changed) if changed else as_json({"error": "no such task"}, 404)


@app.on("DELETE", "/tasks/{task}")
def delete(request, task):
    return Answer(204) if tasks.delete(task) else as_json({"error": "no such task"}, 404)


app.serve()
