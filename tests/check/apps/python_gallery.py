"""Pictures in a directory of this instance, shown on a page that may have been read before. Mended: in one that all
instances share."""

import secrets
from pathlib import Path

from tiny import MENDED, SHARED_DIR, App, as_json, page

app = App()
MEDIA = (SHARED_DIR if MENDED else Path(".")) / "media"
MEDIA.mkdir(exist_ok=True)


@app.on("POST", "/albums")
def album(request):
    # Any name will do: there is nothing to keep.
    return as_json({"album": secrets.token_hex(8)}, 201)


@app.on("GET", "/albums/{album}")
def show(request, album):
    pictures = sorted(path.read_text() for path in MEDIA.glob(f"{album}-*"))
    return page("".join(f"<p>{picture}</p>" for picture in pictures) or "<p>no picture yet</p>")


@app.on("POST", "/albums/{album}")
def upload(request, album):
    (MEDIA / f"{album}-{secrets.token_hex(4)}").write_bytes(request.files["picture"])
    return as_json({"kept": True}, 201)


app.serve()
