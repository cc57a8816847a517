"""A server of its own process, whose one handler says when it has begun, and waits until it is told to go on."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import uvicorn

from fungible.idempotency import IdempotencyMiddleware
from fungible.stores import open_store


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        print("ready", flush=True)
        await receive()
        print("closing", flush=True)
        await send({"type": "lifespan.shutdown.complete"})
        return
    print("begun", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    await send({"type": "http.response.start", "status": 201, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": b"done once"})
    print("answered", flush=True)


def main() -> None:
    url, port = sys.argv[1:]
    guarded = IdempotencyMiddleware(app, store=open_store(url), instances=1)
    uvicorn.run(guarded, port=int(port), log_level="error", timeout_graceful_shutdown=None)


if __name__ == "__main__":
    main()
