"""Shelves and what lies on them are shared, but each process knows the shelves that there were at its first request, and
those that it has made itself. Mended: it looks again for one that it does not know."""

import secrets

from tiny import MENDED, App, as_json, table

app = App()
shelves = table("shelves", shared=True)
things = table("things", shared=True)
known = None


def knows(shelf):
    global known
    if known is None:
        known = set(shelves.get("all") or [])
    return shelf in known or (MENDED and shelf in (shelves.get("all") or []))


@app.on("POST", "/shelves")
def make(request):
    shelf = secrets.token_hex(8)
    knows(shelf)
    shelves.add("all", [])
    shelves.change("all", lambda all_of_them: [*all_of_them, shelf])
    known.add(shelf)
    return as_json({"shelf": shelf}, 201)


@app.on("POST", "/shelves/{shelf}/things")
def put(request, shelf):
    if not knows(shelf):
        return as_json({"error": "no such shelf"}, 403)
    thing = secrets.token_hex(8)
    things.put(thing, {"shelf": shelf, "title": request.json["title"]})
    return as_json({"thing": thing}, 201)


@app.on("GET", "/shelves/{shelf}/things/{thing}")
def read(request, shelf, thing):
    if not knows(shelf):
        return as_json({"error": "no such shelf"}, 403)
    return as_json(things.get(thing) or {})


app.serve()
