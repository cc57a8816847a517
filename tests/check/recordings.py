"""Recordings for tests, and a run that is given the recorded answers."""

import base64
import json
from collections.abc import Sequence
from typing import Any

from fungible.check.flows.recorded_cookies import take_cookies
from fungible.check.http.client import Request
from fungible.check.http.jar import Jar
from fungible.check.http.template import captured, request_for
from fungible.check.model import Answer, Exchange, Flow, Step


def answer(body: Any = b"", status: int = 200, kind: str = "", **headers: str | list[str]) -> Answer:
    if isinstance(body, str):
        raw, kind = body.encode(), kind or "text/html; charset=utf-8"
    elif isinstance(body, bytes):
        raw = body
    else:
        raw, kind = json.dumps(body).encode(), kind or "application/json"
    pairs = [("Content-Type", kind)] if kind else []
    for name, value in headers.items():
        pairs += [(name.replace("_", "-"), one) for one in ([value] if isinstance(value, str) else value)]
    return Answer(status=status, headers=tuple(pairs), body=raw)


def exchange(step: str, path: str, answered: Answer, method: str = "GET", **given: Any) -> Exchange:
    return Exchange(step=Step(id=step, path=path, method=method, **given), answer=answered)


def replayed(flow: Flow, answers: Sequence[Answer]) -> tuple[list[Request], dict[str, str]]:
    """The requests a run makes that gets these answers, and what it captured."""
    values, jar, sent = {"host": "app.test"}, Jar(), []
    for name, value in flow.cookies.items():
        jar.set(name, value)
    for step, one in zip(flow.steps, answers, strict=True):
        sent.append(request_for(step, values, host="app.test", scheme="http", cookies=jar))
        if not any(name.lower() == "cookie" for name in step.headers):
            take_cookies(jar, sent[-1].target, one)
        for capture in step.capture:
            value = captured(capture, one, jar)
            assert value is not None, capture
            values[capture.name] = value
    return sent, values


def assert_same_requests(flow: Flow, exchanges: Sequence[Exchange]) -> None:
    """The bound flow makes the recorded requests when it gets the recorded answers."""
    answers = [one.answer for one in exchanges]
    plain = Flow(name="plain", steps=tuple(one.step for one in exchanges), cookies=flow.cookies)
    assert replayed(flow, answers)[0] == replayed(plain, answers)[0]


def har(*entries: dict[str, Any]) -> dict[str, Any]:
    return {"log": {"version": "1.2", "creator": {"name": "test", "version": "1"}, "entries": list(entries)}}


def entry(
    method: str,
    url: str,
    *,
    headers: dict[str, str] | None = None,
    text: str | None = None,
    mime: str = "",
    status: int = 200,
    answered: Any = "",
    answer_headers: Sequence[tuple[str, str]] = (),
    answer_mime: str = "text/html",
    **more: Any,
) -> dict[str, Any]:
    sent = dict(headers or {})
    request: dict[str, Any] = {"method": method, "url": url, "cookies": [], "queryString": []}
    if text is not None:
        request["postData"] = {"mimeType": mime, "text": text}
        sent.setdefault("Content-Type", mime)
    request["headers"] = [{"name": k, "value": v} for k, v in sent.items()]
    content: dict[str, Any] = {"mimeType": answer_mime}
    if isinstance(answered, bytes):
        content |= {"text": base64.b64encode(answered).decode(), "encoding": "base64"}
    else:
        content["text"] = answered if isinstance(answered, str) else json.dumps(answered)
    pairs = [{"name": k, "value": v} for k, v in (("Content-Type", answer_mime), *answer_headers)]
    response = {"status": status, "headers": pairs, "cookies": [], "content": content, "redirectURL": ""}
    return {"startedDateTime": "2026-01-01T00:00:00.000Z", "time": 1, "request": request, "response": response, **more}
