"""Articles are shared, but each process remembers what it has read and forgets only what it changes itself.
Mended: it remembers nothing."""

import secrets

from tiny import MENDED, App, as_json, table

app = App()
articles = table("articles", shared=True)
remembered = {}


@app.on("POST", "/articles")
def create(request):
    article = secrets.token_hex(8)
    articles.put(article, request.json["title"])
    return as_json({"id": article}, 201)


@app.on("GET", "/articles/{article}")
def read(request, article):
    title = remembered.get(article) or articles.get(article)
    if title is None:
        return as_json({"error": "no such article"}, 404)
    if not MENDED:
        remembered[article] = title
    return as_json({"title": title})


@app.on("PUT", "/articles/{article}")
def update(request, article):
    articles.put(article, request.json["title"])
    remembered.pop(article, None)
    return as_json({"title": request.json["title"]})


app.serve()
