"""Ends at once on SIGTERM, whatever is under way. Mended: answers what has begun, then ends."""

import time

from tiny import MENDED, App, text

app = App()


@app.on("GET", "/slow")
def slow(request):
    time.sleep(0.4)
    return text("slow and done")


@app.on("POST", "/slow")
def slow_write(request):
    time.sleep(0.2)
    return text("written")


app.serve(graceful=MENDED)
