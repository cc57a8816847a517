"""The progress of a job is shared, but the job dies with the instance that runs it, and nobody goes on with it.
Mended: whoever looks at an abandoned job goes on with it."""

from jobs import STEPS, Jobs
from tiny import MENDED, App, as_json, table, text

app = App()
jobs = Jobs(table("jobs", shared=True), takes_over=MENDED)


@app.on("POST", "/jobs")
def start(request):
    job = jobs.start()
    return as_json({"id": job}, 202).header("Location", f"/jobs/{job}")


@app.on("GET", "/jobs/{job}")
def progress(request, job):
    record = jobs.look(job)
    if record is None:
        return as_json({"error": "no such job"}, 404)
    return as_json(
        {"state": "done" if record["done"] == STEPS else "running", "percent": 100 * record["done"] // STEPS}
    )


@app.on("GET", "/jobs/{job}/result")
def result(request, job):
    record = jobs.look(job)
    return text("42 lines counted") if record and record["done"] == STEPS else text("no result", 404)


app.serve()
