"""All orders as a CSV file, made in the background while a page shows the progress."""

import csv
import io
import secrets
import threading
import time

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import RedirectResponse

from database import connection
from signing_in import User
from state import export_progress, export_results
from web import page

STEPS = ("Waiting", "Reading the orders", "Sorting", "Adding up", "Writing the file", "Ready")

router = APIRouter()


def make_export(export: str) -> None:
    """Works through the steps, slowly enough to be watched."""
    for step in range(1, len(STEPS)):
        time.sleep(0.1)
        if step == len(STEPS) - 1:
            export_results[export] = orders_as_csv()
        export_progress[export] = step


def orders_as_csv() -> str:
    """The file itself."""
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(["reference", "customer", "product", "quantity", "cents"])
    with connection() as db:
        writer.writerows(db.execute("select reference, customer, product, quantity, cents from orders order by rowid"))
    return file.getvalue()


@router.post("/exports")
def start(user: User) -> Response:
    export = secrets.token_urlsafe(12)
    export_progress[export] = 0
    threading.Thread(target=make_export, args=(export,), daemon=True).start()
    return RedirectResponse(f"/exports/{export}", 303)


@router.get("/exports/{export}")
def progress(request: Request, export: str) -> Response:
    if export not in export_progress:
        raise HTTPException(404, "There is no such export.")
    done = export_progress[export]
    return page(request, "export.html", {"export": export, "steps": STEPS, "done": done})


@router.get("/exports/{export}/orders.csv")
def result(export: str) -> Response:
    if export not in export_results:
        raise HTTPException(404, "There is no such export, or it is not ready.")
    return Response(export_results[export], media_type="text/csv")
