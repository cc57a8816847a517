"""Hands out a cookie that names the instance, for a load balancer to come back to. Mended: hands out none."""

import os
import sys

from tiny import MENDED, App, page, redirect

app = App()
INSTANCE = f"node-{sys.argv[1]}-{os.getpid()}"


def welcome(request, body):
    answer = page(body)
    if not MENDED and "SERVERID" not in request.cookies:
        answer.cookie("SERVERID", INSTANCE)
    return answer


@app.on("GET", "/home")
def home(request):
    return welcome(request, "<h1>Home</h1>")


@app.on("POST", "/name")
def name(request):
    return redirect("/about").cookie("name", request.form["name"])


@app.on("GET", "/about")
def about(request):
    return welcome(request, f"<h1>About</h1><p>For {request.cookies.get('name', 'anybody')}</p>")


app.serve()
