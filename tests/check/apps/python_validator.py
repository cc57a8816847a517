"""The ETag of a page is made when the process starts. Mended: it is a hash of the content."""

import hashlib
import secrets

from tiny import MENDED, Answer, App, page

app = App()
LOGO = page("<h1>A kite</h1>")
ETAG = f'"{hashlib.sha256(LOGO.body).hexdigest()[:16] if MENDED else secrets.token_hex(8)}"'


@app.on("GET", "/logo")
def logo(request):
    if request.headers.get("If-None-Match") == ETAG:
        return Answer(304).header("ETag", ETAG)
    return page("<h1>A kite</h1>").header("ETag", ETAG)


app.serve()
