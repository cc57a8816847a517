"""Applications of real frameworks as several processes over one store, and visitors with cookies."""

from __future__ import annotations

import asyncio
import ctypes
import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from servers.ports import free_port

APPLICATIONS = Path(__file__).parent / "applications"
STARTS_WITHIN_S = 60
SECRET = "only for tests, and long enough for that"
# In a service there are at least as many threads as requests that wait in it at once.
THREADS = 64
PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Framework:
    """An application, and how it is served."""

    name: str
    module: str
    server: str
    needs: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.name

    def missing(self) -> str | None:
        """Why it can't run here, or None."""
        lacking = [name for name in (*self.needs, self.server) if importlib.util.find_spec(name) is None]
        return f"{' and '.join(lacking)}: not installed" if lacking else None


FASTAPI = Framework("fastapi", "fastapi_app:app", "uvicorn", ("fastapi",))
LITESTAR = Framework("litestar", "litestar_app:app", "uvicorn", ("litestar",))
FLASK = Framework("flask", "flask_app:app", "gunicorn", ("flask",))
DJANGO_WSGI = Framework("django-wsgi", "django_app:app", "gunicorn", ("django",))
DJANGO_ASGI = Framework("django-asgi", "django_app:app", "uvicorn", ("django",), {"ASYNCHRONOUS": "1"})
FRAMEWORKS = (FASTAPI, LITESTAR, FLASK, DJANGO_WSGI, DJANGO_ASGI)


@dataclass(frozen=True)
class Service:
    """A running application."""

    framework: Framework
    urls: tuple[str, ...]


@contextmanager
def running(
    framework: Framework, store_url: str, folder: Path, *, processes: int = 2, mode: str = "stored"
) -> Iterator[Service]:
    """An application as several processes: workers of one gunicorn, or uvicorns on a port each."""
    if missing := framework.missing():
        pytest.skip(missing)
    environment = {
        **os.environ,
        **framework.environment,
        "STORE_URL": store_url,
        "SESSION_SECRET": SECRET,
        "SESSION_MODE": mode,
        "DATABASE": str(folder / "database.sqlite3"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    if framework.module.startswith("django"):
        prepare = [sys.executable, "django_app.py", "prepare"]
        subprocess.run(prepare, cwd=APPLICATIONS, env=environment, check=True, timeout=120)
    started: list[subprocess.Popen[bytes]] = []
    urls: list[str] = []
    try:
        for command, port in _commands(framework, processes):
            log = (folder / f"{framework.name}-{port}.log").open("wb")
            started.append(
                subprocess.Popen(
                    command,
                    cwd=APPLICATIONS,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    preexec_fn=_dies_with_us,
                )
            )
            urls.append(f"http://127.0.0.1:{port}")
        for process, url in zip(started, urls, strict=True):
            _wait_for(process, url, folder)
        yield Service(framework, tuple(urls))
    finally:
        for process in started:
            process.terminate()
        for process in started:
            _end(process)


def _commands(framework: Framework, processes: int) -> Iterator[tuple[list[str], int]]:
    python = [sys.executable, "-m"]
    if framework.server == "gunicorn":
        port = free_port()
        # Preloaded, so that what was made before the fork is put to the test.
        workers = [*("--workers", str(processes)), "--preload", *("--threads", str(THREADS)), "--no-control-socket"]
        yield [*python, "gunicorn", *workers, "--bind", f"127.0.0.1:{port}", framework.module], port
        return
    for _ in range(processes):
        port = free_port()
        options = [*("--port", str(port)), *("--lifespan", "off"), *("--log-level", "warning")]
        yield [*python, "uvicorn", *options, framework.module], port


def _dies_with_us() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _wait_for(process: subprocess.Popen[bytes], url: str, folder: Path) -> None:
    until = time.monotonic() + STARTS_WITHIN_S
    while process.poll() is None and time.monotonic() < until:
        try:
            if httpx.get(f"{url}/plain", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.05)
    logs = "\n".join(path.read_text(errors="replace") for path in folder.glob("*.log"))
    raise RuntimeError(f"{process.args} does not start: {logs}")


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


class Visitor:
    """A browser as far as sessions see it: it keeps cookies, also those for HTTPS, and takes instances in turn."""

    def __init__(self, client: httpx.AsyncClient, service: Service, cookies: Mapping[str, str] = {}) -> None:
        self._client = client
        self._service = service
        self._turn = 0
        self.cookies = dict(cookies)
        self.set_cookies: list[str] = []
        """All `Set-Cookie` headers that came."""

    @property
    def cookie(self) -> str:
        """The value of its only cookie."""
        (value,) = self.cookies.values()
        return value

    def twin(self) -> Visitor:
        """Another browser with the same cookies, as of now."""
        return Visitor(self._client, self._service, self.cookies)

    async def get(self, path: str, **params: Any) -> httpx.Response:
        return await self.ask("GET", path, **params)

    async def post(self, path: str, **params: Any) -> httpx.Response:
        return await self.ask("POST", path, **params)

    async def add(self, item: object, gate: int | None = None, path: str = "/add") -> httpx.Response:
        """Puts something into the cart."""
        extra = {} if gate is None else {"gate": str(gate)}
        return good(await self.post(path, item=str(item), **extra))

    async def me(self) -> dict[str, Any]:
        """What is in the session."""
        return dict(good(await self.get("/me")).json())

    async def ask(self, method: str, path: str, **params: Any) -> httpx.Response:
        url = self._service.urls[self._turn % len(self._service.urls)]
        self._turn += 1
        cookie = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
        headers = {b"cookie": cookie.encode("latin-1")} if cookie else {}
        response = await self._client.request(method, url + path, params=params, headers=headers)
        for header in response.headers.get_list("set-cookie"):
            self.set_cookies.append(header)
            self._take(header)
        return response

    def _take(self, header: str) -> None:
        name, _, rest = header.partition("=")
        value, _, attributes = rest.partition(";")
        if "max-age=0" in attributes.lower():
            self.cookies.pop(name, None)
        else:
            self.cookies[name] = value


def good(response: httpx.Response) -> httpx.Response:
    """A response that says all went well."""
    assert response.status_code in (200, 201), f"{response.status_code}: {response.text[:300]}"
    return response


@asynccontextmanager
async def visiting(service: Service) -> AsyncIterator[Visitor]:
    """A visitor without cookies."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    async with httpx.AsyncClient(timeout=60, limits=limits) as client:
        yield Visitor(client, service)


class Gate:
    """Where views wait until the test lets them go on."""

    def __init__(self) -> None:
        self._waiting: list[asyncio.StreamWriter] = []
        self._came = asyncio.Condition()

    async def __aenter__(self) -> Gate:
        self._server = await asyncio.start_server(self._take_in, "127.0.0.1", 0, backlog=200)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self.open()
        self._server.close()

    async def arrived(self, count: int) -> None:
        """Waits until that many views wait here."""
        async with asyncio.timeout(60), self._came:
            await self._came.wait_for(lambda: len(self._waiting) >= count)

    def open(self) -> None:
        """Lets all of them go on."""
        while self._waiting:
            self._waiting.pop().close()

    async def _take_in(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async with self._came:
            self._waiting.append(writer)
            self._came.notify_all()
