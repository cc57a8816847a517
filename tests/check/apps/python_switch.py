"""A switch in this process's memory that nobody names: who comes later finds it as the last one has left it.
Mended: it is shared."""

from tiny import MENDED, App, as_json, table

app = App()
switch = table("switch", shared=MENDED)


@app.on("POST", "/maintenance")
def turn_on(request):
    switch.put("maintenance", True)
    return as_json({"maintenance": True})


@app.on("GET", "/maintenance")
def look(request):
    return as_json({"maintenance": bool(switch.get("maintenance"))})


app.serve()
