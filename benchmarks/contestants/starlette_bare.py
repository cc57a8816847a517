"""Starlette without sessions: what the others' cost is over."""

from starlette.applications import Starlette

from benchmarks.contestants.starlette_routes import bare_routes


def application() -> Starlette:
    return Starlette(routes=bare_routes())
