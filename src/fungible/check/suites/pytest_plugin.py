"""`pytest --fungible-start CMD`: an existing suite, with the requests of each test scattered over several instances.

pytest imports this module wherever Fungible is installed. So it imports nothing but pytest, works without the extra
`check`, and does nothing until it is told what to start.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    import httpx

DEFAULT_BASE_URL = "http://127.0.0.1:8000"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the options; one of the first three makes the plugin act."""
    group = parser.getgroup("fungible", "each request of a test to another instance (fungible)")
    group.addoption(
        "--fungible-start",
        metavar="CMD",
        help="command that starts one instance in the foreground; {port} is replaced, PORT is set",
    )
    group.addoption(
        "--fungible-at",
        metavar="URL",
        action="append",
        default=[],
        help="an instance that already runs; give it once for each",
    )
    group.addoption("--fungible-file", metavar="FILE", help="check file whose target says what to start")
    group.addoption("--fungible-instances", metavar="N", type=int, help="instances to take turns (default 3)")
    group.addoption(
        "--fungible-base-url",
        metavar="URL",
        help="base URL that the suite uses; without it, requests to localhost, 127.0.0.1 and testserver, whatever "
        "the port, go to the instances",
    )
    group.addoption(
        "--fungible-ready", metavar="PATH", help="path that answers below 500 once an instance is ready (default /)"
    )
    group.addoption(
        "--fungible-shared",
        metavar="PATH",
        action="append",
        default=[],
        help="path that all instances share in production, such as a volume",
    )
    group.addoption(
        "--fungible-env", metavar="K=V", action="append", default=[], help="environment variable of the instances"
    )
    group.addoption(
        "--fungible-schedule",
        choices=("scatter", "crash"),
        default="scatter",
        help="scatter: instances take turns (default); crash: each is killed, and its disk wiped, once it has answered",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Registers the part that acts, where the options ask for it."""
    if not any(config.getoption(name) for name in ("fungible_start", "fungible_at", "fungible_file")):
        return
    from fungible.check.suites.pytest_scatter import Scatter
    from fungible.check.suites.pytest_settings import settings_of

    config.pluginmanager.register(Scatter(settings_of(config)), "fungible-scatter")


@pytest.fixture(scope="session")
def fungible_base_url(pytestconfig: pytest.Config) -> str:
    """The URL that requests are scattered from; without `--fungible-start`, that of the application you run yourself."""
    scatter = pytestconfig.pluginmanager.get_plugin("fungible-scatter")
    if scatter is not None:
        return scatter.settings.base_url
    return pytestconfig.getoption("fungible_base_url") or DEFAULT_BASE_URL


@pytest.fixture
def fungible_client(fungible_base_url: str) -> "Iterator[httpx.Client]":
    """One visitor: an `httpx.Client` with that base URL, and a cookie jar of its own."""
    try:
        import httpx
    except ModuleNotFoundError as error:
        from fungible.core.errors import MissingExtraError

        raise MissingExtraError(needed_by="the fixture fungible_client", extra="check", module="httpx") from error
    with httpx.Client(base_url=fungible_base_url) as client:
        yield client
