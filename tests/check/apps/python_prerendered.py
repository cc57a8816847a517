"""The latest article is shared, its page is rendered into a file at start and after a change here: other instances go on
with theirs. Mended: rendered each time."""

import secrets
from pathlib import Path

from tiny import MENDED, App, as_json, page, table

app = App()
articles = table("articles", shared=True)
FILE = Path("latest.html")


def render():
    FILE.write_text(f"<h1>Latest</h1><p>{articles.get('latest')}</p>")


@app.on("POST", "/articles")
def create(request):
    article = secrets.token_hex(8)
    articles.put("latest", article)
    render()
    return as_json({"id": article}, 201)


@app.on("GET", "/latest")
def latest(request):
    if MENDED:
        render()
        return page(FILE.read_text())
    return page(FILE.read_text()).header("X-Cache", "HIT")


render()
app.serve()
