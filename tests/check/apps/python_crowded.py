"""Answers two slow requests at a time and the others with 500, whatever happens; and ends at once on SIGTERM.
Mended: answers what has begun, then ends; what is too much is still answered with 500."""

import threading
import time

from tiny import MENDED, App, text

app = App()
places = threading.Semaphore(2)


@app.on("GET", "/slow")
def slow(request):
    if not places.acquire(blocking=False):
        return text("too busy", 500)
    try:
        time.sleep(0.4)
        return text("slow and done")
    finally:
        places.release()


@app.on("POST", "/slow")
def slow_write(request):
    time.sleep(0.2)
    return text("written")


app.serve(graceful=MENDED)
