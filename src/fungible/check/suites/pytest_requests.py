"""Sends the requests of the library `requests` to the instances that a router chooses."""

import importlib
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from fungible.check.suites.pytest_routing import Router


def route_requests(router: Router) -> Callable[[], None]:
    """Routes all requests that leave this process through requests; gives what undoes it."""
    # By name, as the library is none of ours: it is here only where the suite uses it.
    adapter: Any = importlib.import_module("requests.adapters").HTTPAdapter
    plain = adapter.send

    def send(self: Any, request: Any, stream: bool = False, *args: Any, **options: Any) -> Any:
        sent = router.place(request.method, request.url)
        if sent is None:
            return plain(self, request, stream, *args, **options)
        parts = urlsplit(str(request.url))
        routed = request.copy()
        routed.url = sent.address.url + sent.target
        routed.headers.setdefault("Host", parts.netloc.rpartition("@")[2])
        if parts.scheme == "https":
            routed.headers.setdefault("X-Forwarded-Proto", "https")
        try:
            response = plain(self, routed, stream, *args, **options)
            if not stream:
                _ = response.content  # read now, as requests would next: then the instance may be killed
                sent.ended()
        except Exception as error:
            sent.error = type(error).__name__
            sent.ended()
            raise
        response.request, response.url = request, request.url
        sent.response, sent.body = response, _body
        return response

    def undo() -> None:
        adapter.send = plain

    adapter.send = send
    return undo


def _body(response: Any) -> bytes | None:
    return response.content if response._content_consumed else None
