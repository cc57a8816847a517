"""No cache: what a hit's cost is over."""

from starlette.applications import Starlette

from benchmarks.contestants import cache_routes


def application() -> Starlette:
    counted = cache_routes.Counted()
    return cache_routes.application(counted, counted.slow, counted.quick)
