"""Runs the suite on every backend, and its coroutines on an event loop each."""

import asyncio
import inspect
from collections.abc import Callable, Iterator

import pytest

from contracts.backends import EVERY, Backend, make_backend
from contracts.processes import Processes
from fungible.stores import Store

HANGS_AFTER_S = 120


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Runs a test that is a coroutine; then closes what it has opened, on the same event loop."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    arguments = {name: pyfuncitem.funcargs[name] for name in inspect.signature(pyfuncitem.obj).parameters}
    used = pyfuncitem.funcargs.get("backend")

    async def run() -> None:
        try:
            async with asyncio.timeout(HANGS_AFTER_S):
                await pyfuncitem.obj(**arguments)
        finally:
            if isinstance(used, Backend):
                await used.close()

    asyncio.run(run())
    return True


@pytest.fixture(params=EVERY)
def backend(request: pytest.FixtureRequest) -> Backend:
    made = make_backend(request.param, request)
    made.empty()
    return made


@pytest.fixture
def open_store(backend: Backend) -> Callable[[], Store]:
    """Opens another instance's store on the same data."""
    return backend.open


@pytest.fixture(scope="session")
def processes() -> Iterator[Processes]:
    """Other processes, which stay for as long as this worker runs."""
    with Processes(3) as started:
        yield started
