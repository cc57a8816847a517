"""CSRF tokens signed with a key of this process, over data that all instances share. Mended: one key for all."""

import secrets

from tiny import MENDED, App, page, redirect, sign, signing_key, table, text, unsign

app = App()
KEY = signing_key(shared=MENDED)
boxes = table("boxes", shared=True)


@app.on("GET", "/form")
def form(request):
    box = secrets.token_hex(8)
    return page(
        f'<form method="post" action="/messages"><input type="hidden" name="box" value="{box}">'
        f'<input type="hidden" name="csrf" value="{sign(KEY, box)}"><input name="text"></form>'
    )


@app.on("POST", "/messages")
def post(request):
    box = request.form["box"]
    if unsign(KEY, request.form["csrf"]) != box:
        return text("the CSRF token is not valid", 403)
    boxes.add(box, [])
    boxes.change(box, lambda messages: [*messages, request.form["text"]])
    return redirect(f"/messages/{box}")


@app.on("GET", "/messages/{box}")
def messages(request, box):
    kept = boxes.get(box)
    return page(f"<p>{'; '.join(kept)}</p>") if kept else text("nothing there", 404)


app.serve()
