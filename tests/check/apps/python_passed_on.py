"""Pictures are in this process, what is written about them and the posts that show them are shared. Mended: pictures too."""

import secrets

from tiny import MENDED, App, as_json, page, table

app = App()
pictures = table("pictures", shared=MENDED)
words = table("words", shared=True)
posts = table("posts", shared=True)


@app.on("POST", "/pictures")
def draw(request):
    picture = secrets.token_hex(8)
    pictures.put(picture, request.json["shows"])
    return as_json({"id": picture}, 201)


@app.on("PUT", "/pictures/{picture}/words")
def describe(request, picture):
    words.put(picture, request.json["words"])
    return as_json({"kept": True})


@app.on("POST", "/posts")
def publish(request):
    post = secrets.token_hex(8)
    posts.put(post, request.json["picture"])
    return as_json({"id": post}, 201)


@app.on("GET", "/posts/{post}")
def read(request, post):
    picture = posts.get(post)
    return page(f"<h1>{words.get(picture)}</h1><p>{pictures.get(picture) or 'no picture'}</p>")


app.serve()
