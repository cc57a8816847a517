"""Settings of this process, of which there are three; another name is refused. Mended: they are shared."""

from tiny import MENDED, App, as_json, table

app = App()
settings = table("settings", shared=MENDED)
ALLOWED = {"theme": {"dark", "light"}, "density": {"low", "high"}, "language": {"en", "fr"}}


@app.on("PUT", "/settings/{name}")
def change(request, name):
    value = request.json["value"]
    if value not in ALLOWED.get(name, ()):
        return as_json({"error": "no such setting"}, 422)
    settings.put(name, value)
    return as_json({name: value})


@app.on("GET", "/settings/{name}")
def read(request, name):
    return as_json({name: settings.get(name)})


app.serve()
