"""Flask-Session on Redis, and Flask without sessions: WSGI in threads, by a2wsgi."""

import os
import threading
from collections import defaultdict

from a2wsgi import WSGIMiddleware
from flask import Flask, jsonify, session

from benchmarks.contestants.routes import KEY, NOBODY, add, count, pause, start

THREADS = 64
"""More than the requests that are sent at once: none has to wait for a thread."""
OK = "ok"


def application() -> WSGIMiddleware:
    from flask_session import Session
    from redis import Redis

    app = Flask(__name__)
    app.config.update(SESSION_TYPE="redis", SESSION_REDIS=Redis.from_url(os.environ["STORE_URL"]))
    Session(app)
    _add_routes(app)
    _add_gates(app)
    return WSGIMiddleware(app, workers=THREADS)


def _add_routes(app: Flask) -> None:
    @app.get("/me")
    def me() -> str:
        return session.get("user", NOBODY)

    @app.get("/write")
    def write() -> str:
        session["n"] = session.get("n", 0) + 1
        return OK

    @app.post("/login")
    def login() -> str:
        start(session)
        return OK

    @app.post("/logout")
    def logout() -> str:
        session.clear()
        return OK

    @app.post("/add/<kind>/<item>/<int:ms>")
    def add_one(kind: str, item: str, ms: int) -> str:
        session.get("user")
        pause(ms)
        add(session, kind, item)
        return OK

    @app.get("/count")
    def counted():
        return jsonify(count(session))


def _add_gates(app: Flask) -> None:
    read: defaultdict[str, threading.Event] = defaultdict(threading.Event)
    released: defaultdict[str, threading.Event] = defaultdict(threading.Event)

    @app.post("/slow/<name>")
    def slow(name: str) -> str:
        session.get("user")
        read[name].set()
        released[name].wait()
        add(session, KEY, "late")
        return OK

    @app.get("/loaded/<name>")
    def loaded(name: str) -> str:
        read[name].wait()
        return OK

    @app.post("/release/<name>")
    def release(name: str) -> str:
        released[name].set()
        return OK


def bare() -> WSGIMiddleware:
    app = Flask(__name__)

    @app.get("/me")
    def me() -> str:
        return "ada"

    @app.get("/write")
    def write() -> str:
        return OK

    return WSGIMiddleware(app, workers=THREADS)
