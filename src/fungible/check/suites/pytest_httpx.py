"""Sends the requests of httpx to the instances that a router chooses: same headers, same Host, another address."""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, cast

import httpx

from fungible.check.suites.pytest_routing import Router, Sent


def route_httpx(router: Router) -> Callable[[], None]:
    """Routes all requests that leave this process through httpx; gives what undoes it."""
    plain, plain_async = httpx.HTTPTransport.handle_request, httpx.AsyncHTTPTransport.handle_async_request

    def handle_request(self: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        sent = router.place(request.method, str(request.url))
        if sent is None:
            return plain(self, request)
        try:
            return _answered(sent, plain(self, _routed(request, sent)))
        except Exception as error:
            _broke(sent, error)
            raise

    async def handle_async_request(self: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
        sent = router.place(request.method, str(request.url))
        if sent is None:
            return await plain_async(self, request)
        try:
            return _answered(sent, await plain_async(self, _routed(request, sent)))
        except Exception as error:
            _broke(sent, error)
            raise

    def undo() -> None:
        httpx.HTTPTransport.handle_request = plain
        httpx.AsyncHTTPTransport.handle_async_request = plain_async

    httpx.HTTPTransport.handle_request = handle_request
    httpx.AsyncHTTPTransport.handle_async_request = handle_async_request
    return undo


def _routed(request: httpx.Request, sent: Sent) -> httpx.Request:
    """The request as it goes to the instance; the suite's own stays as it is, and so does its Host header."""
    address = sent.address
    url = request.url.copy_with(scheme="https" if address.tls else "http", host=address.host, port=address.port)
    headers = request.headers.copy()
    if request.url.scheme == "https":
        headers.setdefault("X-Forwarded-Proto", "https")
    # With `stream`, nothing is added to the headers and nothing is read.
    return httpx.Request(
        request.method, url, headers=headers, stream=request.stream, extensions=cast(Any, request.extensions)
    )


def _answered(sent: Sent, response: httpx.Response) -> httpx.Response:
    response.stream = _Watched(response.stream, sent.ended)
    sent.response = response
    sent.body = _body
    return response


def _broke(sent: Sent, error: Exception) -> None:
    sent.error = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    sent.ended()


def _body(response: Any) -> bytes | None:
    try:
        return response.content
    except httpx.ResponseNotRead:
        return None


class _Watched(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body as it arrives; tells when it is closed, which httpx does as soon as it has read all of it."""

    def __init__(self, stream: Any, ended: Callable[[], None]) -> None:
        self._stream = stream
        self._ended = ended

    def __iter__(self) -> Iterator[bytes]:
        yield from self._stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._stream:
            yield part

    def close(self) -> None:
        self._stream.close()
        self._ended()

    async def aclose(self) -> None:
        await self._stream.aclose()
        self._ended()
