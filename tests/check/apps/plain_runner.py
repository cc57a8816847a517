"""Starts applications and runs steps against them with plain httpx.

What the applications under tests/check/apps and examples do is established by this alone: nothing of the checker's
engine is in it, so the two can be held against each other.
"""

import base64
import contextlib
import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import msgspec
from msgspec import UNSET
from servers.ports import free_port

from fungible.check.model import Capture, Expect, Step

HOST = "app.test"
"""The Host header of every request, as behind a load balancer."""


class Instance:
    """One running copy of an application."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self.process, self.port, self.log = process, port, log
        self.url = f"http://127.0.0.1:{port}"

    def wait_until_listening(self, timeout_s: float = 30) -> None:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"ended with {self.process.returncode}: {self.log.read_text(errors='replace')}")
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                return
            time.sleep(0.02)
        raise TimeoutError(f"not listening after {timeout_s} s: {self.log.read_text(errors='replace')}")

    def kill(self) -> None:
        """Ends it and all its children at once, as a power cut would."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)


@contextlib.contextmanager
def launched(command: str, directory: Path, env: Mapping[str, str], *, port: int | None = None) -> Iterator[Instance]:
    """An instance that may not be listening yet, in a process group of its own; ended when the block ends.

    `directory` is its working directory, HOME and temporary directory; `{port}` in `command` is replaced.
    """
    port = port or free_port()
    directory.mkdir(parents=True, exist_ok=True)
    log = directory.parent / f"{directory.name}.log"
    own = {"HOME": str(directory), "TMPDIR": str(directory), "PORT": str(port), "PYTHONDONTWRITEBYTECODE": "1"}
    with log.open("wb") as output:
        process = subprocess.Popen(
            "exec " + command.replace("{port}", str(port)),
            shell=True,
            cwd=directory,
            env={"PATH": os.environ["PATH"], **own, **env},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    instance = Instance(process, port, log)
    try:
        yield instance
    finally:
        instance.kill()


@contextlib.contextmanager
def started(command: str, directory: Path, env: Mapping[str, str]) -> Iterator[Instance]:
    """An instance that is listening."""
    with launched(command, directory, env) as instance:
        instance.wait_until_listening()
        yield instance


class Broken(AssertionError):
    """A step did not answer as it must."""

    def __init__(self, step: str, why: str) -> None:
        super().__init__(f"{step}: {why}")
        self.step = step


class Run:
    """One run of a flow: its visitors' cookies, the values it captured, and what each step answered."""

    def __init__(self, cookies: Mapping[str, str] | None = None) -> None:
        self.values: dict[str, str] = {"host": HOST}
        self.answers: dict[str, httpx.Response] = {}
        self._cookies = dict(cookies or {})
        self._clients: dict[str, httpx.Client] = {}

    def __enter__(self) -> "Run":
        return self

    def __exit__(self, *_: object) -> None:
        for client in self._clients.values():
            client.close()

    def client(self, visitor: str) -> httpx.Client:
        if visitor not in self._clients:
            limits = httpx.Limits(max_keepalive_connections=0)
            # verify=False: there is no TLS here, and reading the certificates takes longer than a whole flow.
            client = httpx.Client(trust_env=False, verify=False, timeout=30, limits=limits, headers={"Host": HOST})
            client.cookies.update(self._cookies)
            self._clients[visitor] = client
        return self._clients[visitor]

    def step(self, step: Step, url: str) -> httpx.Response:
        """Sends one step until it answers as it must; raises `Broken` where it does not."""
        filled = msgspec.convert(fill(msgspec.to_builtins(step), self.values), Step)
        time.sleep(step.delay_before)
        deadline = time.monotonic() + step.poll_seconds
        while True:
            try:
                answer = self.answers[step.id] = send(self.client(step.visitor), filled, url)
                wrong = violation(answer, filled.expect)
                if wrong is None:
                    self.values |= {capture.name: captured(answer, capture) for capture in filled.capture}
                    return answer
            except (httpx.HTTPError, LookupError) as error:
                wrong = f"{type(error).__name__}: {error}"
            if time.monotonic() >= deadline:
                raise Broken(step.id, wrong)
            time.sleep(0.05)


def run_flow(
    steps: Sequence[Step],
    url_of: Callable[[int], str],
    *,
    cookies: Mapping[str, str] | None = None,
) -> dict[str, httpx.Response]:
    """Runs the steps in order, step number i at `url_of(i)`; gives the answers by step ID, or raises `Broken`."""
    with Run(cookies) as run:
        for number, step in enumerate(steps):
            run.step(step, url_of(number))
        return run.answers


def fill(value: Any, values: Mapping[str, str]) -> Any:
    """`value` with `{{name}}` replaced in every string."""
    if isinstance(value, str):
        return re.sub(r"\{\{([\w-]+)\}\}", lambda name: values.get(name[1], name[0]), value)
    if isinstance(value, dict):
        return {key: fill(one, values) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [fill(one, values) for one in value]
    return value


def send(client: httpx.Client, step: Step, url: str) -> httpx.Response:
    """The answer to one step; a `Cookie` header of the step replaces the visitor's cookies and leaves them alone."""
    body: dict[str, Any] = {}
    if step.json is not UNSET:
        body["json"] = step.json
    if step.form is not None:
        body["data"] = step.form
    if step.body is not None:
        body["content"] = step.body.encode()
    if step.body_base64 is not None:
        body["content"] = base64.b64decode(step.body_base64)
    if step.files:
        body["files"] = [(part.field, (part.filename, content_of(part), part.content_type)) for part in step.files]
    kept = httpx.Cookies(client.cookies)
    own_cookies = any(name.lower() == "cookie" for name in step.headers)
    if own_cookies:
        client.cookies.clear()
    try:
        return client.request(step.method, url + step.path, headers=step.headers, auth=step.auth, **body)
    finally:
        if own_cookies:
            client.cookies = kept


def content_of(part: Any) -> bytes:
    return base64.b64decode(part.content_base64) if part.content_base64 is not None else (part.content or "").encode()


def violation(answer: httpx.Response, expect: Expect) -> str | None:
    """What is wrong with an answer, in words."""
    text = answer.text
    if expect.status and answer.status_code not in expect.status:
        return f"status {answer.status_code}, expected {expect.status}: {text[:300]}"
    for wanted in expect.contains:
        if wanted not in text:
            return f"status {answer.status_code}, lacks {wanted!r}: {text[:300]}"
    for unwanted in expect.lacks:
        if unwanted in text:
            return f"status {answer.status_code}, has {unwanted!r}"
    if expect.location is not None and not re.search(expect.location, answer.headers.get("location", "")):
        return f"location {answer.headers.get('location')!r}, expected {expect.location!r}"
    for path, wanted in expect.json.items():
        try:
            found = at_path(answer.json(), path)
        except (LookupError, ValueError) as error:
            return f"status {answer.status_code}, no JSON at {path!r} ({error}): {text[:300]}"
        if found != wanted:
            return f"JSON {path!r} is {found!r}, expected {wanted!r}"
    return None


def captured(answer: httpx.Response, capture: Capture) -> str:
    """The value a capture takes out of an answer."""
    try:
        match capture.source:
            case "json":
                value = str(at_path(answer.json(), capture.path or ""))
            case "header":
                value = answer.headers[capture.header or ""]
            case "cookie":
                value = answer.cookies[capture.cookie or ""]
            case "body":
                value = answer.text
        if capture.regex is not None:
            found = re.search(capture.regex, value, re.DOTALL)
            if found is None:
                raise LookupError(f"{capture.regex!r} not in {value[:300]!r}")
            value = found[1]
    except (LookupError, ValueError):
        if capture.default is None:
            raise
        return capture.default
    return value


def at_path(document: Any, path: str) -> Any:
    """The value at `data.0.id` of a JSON document."""
    for part in path.split("."):
        document = document[int(part)] if isinstance(document, list) else document[part]
    return document
