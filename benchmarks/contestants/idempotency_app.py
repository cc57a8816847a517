"""The shop that every contestant for `idempotency` protects: an effect is one more line in a file that all share.

POST /orders, /refunds          work, the effect, then 201 with headers and two cookies
POST /fails                     the effect, then the handler raises: the first time only
POST /stream                    the effect, then a body in pieces
POST /large                     the effect, then 2 MB
GET  /plan/{effect}             what shall become of the requests with that X-Effect, in this process
GET  /held, /release, /steps, /effects   followed by /{effect}
"""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse
from starlette.middleware import Middleware

from benchmarks.contestants.idempotency_plans import (
    AFTER_COMMIT,
    AFTER_EFFECT,
    BEFORE_COMMIT,
    BEFORE_EFFECT,
    NO_PLAN,
    Outermost,
    Plan,
    Plans,
)

LARGE_BYTES = 2_000_000
PIECES = 20
Add = Callable[[str], Awaitable[None]]
"""Makes one effect."""
Work = Callable[[Add], Awaitable[Response]]
Run = Callable[[Request, Work], Awaitable[Response]]
"""How a handler's work is done: as it is, or within a transaction."""
Handler = Callable[[Request], Awaitable[Response]]


class Files:
    """Effects as lines of files, one file for each `X-Effect`: they outlive any process."""

    def __init__(self) -> None:
        self.folder = Path(os.environ["EFFECTS"])

    async def add(self, effect: str) -> None:
        file = os.open(self.folder / effect, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(file, b"x\n")
        os.close(file)

    async def count(self, effect: str) -> int:
        file = self.folder / effect
        return file.stat().st_size // 2 if file.exists() else 0

    def first(self, effect: str) -> bool:
        """Whether nobody has asked that before."""
        try:
            os.close(os.open(self.folder / f"{effect}.asked", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return False
        return True


def answer(effect: str, body: bytes, **more: Any) -> Response:
    """What a handler gives: no two are the same."""
    order = uuid4().hex
    document = {"order": order, "of": effect, "sent": hashlib.sha256(body).hexdigest(), **more}
    made = JSONResponse(document, 201, {"Location": f"/orders/{order}", "X-Total": "7"})
    made.set_cookie("cart", order)
    made.set_cookie("seen", "1", httponly=True)
    return made


def application(
    *,
    run: Run | None = None,
    decorate: Callable[[Handler], Handler] = lambda handler: handler,
    middleware: Sequence[Middleware] = (),
    warm: Callable[[], Awaitable[object]] | None = None,
    count: Callable[[str], Awaitable[int]] | None = None,
    refusals: Mapping[type[Exception], int] | None = None,
) -> Outermost:
    """The shop.

    Args:
        run: How work is done; without it, as it is, and effects are lines of files.
        decorate: Put around each handler of a POST.
        warm: Called before the first request: opens connections.
        count: How many effects there are, where they are not in files.
        refusals: Status by error, where a library leaves it to the application to answer its errors.
    """
    files, plans = Files(), Plans()

    async def as_it_is(_: Request, work: Work) -> Response:
        return await work(files.add)

    doing = run or as_it_is

    async def effect(request: Request, then: Callable[[str, bytes], Response]) -> Response:
        name = request.headers["x-effect"]
        body = await request.body()
        plan = plans.get(name, NO_PLAN)

        async def work(add: Add) -> Response:
            if plan.work_s:
                await asyncio.sleep(plan.work_s)
            plan.reach(BEFORE_EFFECT)
            await add(name)
            plan.reach(AFTER_EFFECT)
            if plan.hold:
                plan.held.set()
                await plan.released.wait()
            made = then(name, body)
            plan.reach(BEFORE_COMMIT)
            return made

        made = await doing(request, work)
        plan.reach(AFTER_COMMIT)
        return made

    async def order(request: Request) -> Response:
        return await effect(request, answer)

    async def fails(request: Request) -> Response:
        def once(name: str, body: bytes) -> Response:
            if files.first(name):
                raise RuntimeError("the handler has failed after its effect")
            return answer(name, body)

        return await effect(request, once)

    async def stream(request: Request) -> Response:
        def streamed(name: str, body: bytes) -> Response:
            whole = bytes(answer(name, body).body)

            async def pieces() -> AsyncIterator[bytes]:
                for at in range(PIECES):
                    yield whole[len(whole) * at // PIECES : len(whole) * (at + 1) // PIECES]
                    await asyncio.sleep(0)

            return StreamingResponse(pieces(), 201, media_type="application/json")

        return await effect(request, streamed)

    async def large(request: Request) -> Response:
        return await effect(request, lambda name, body: answer(name, body, rest="x" * LARGE_BYTES))

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        if warm is not None:
            await warm()
        yield

    app = FastAPI(middleware=list(middleware), lifespan=lifespan)
    for error, status in (refusals or {}).items():
        app.add_exception_handler(error, partial(_refused, status))
    for path, handler in {"orders": order, "refunds": order, "fails": fails, "stream": stream, "large": large}.items():
        app.add_api_route(f"/{path}", decorate(handler), methods=["POST"], response_model=None)
    _add_controls(app, plans, count or files.count)
    return Outermost(app, plans)


async def _refused(status: int, _: Request, error: Exception) -> Response:
    return JSONResponse({"detail": str(error)}, status)


def _add_controls(app: FastAPI, plans: Plans, count: Callable[[str], Awaitable[int]]) -> None:
    """The routes by which the harness makes plans and counts."""

    @app.get("/plan/{effect}")
    async def plan(effect: str, work_ms: float = 0, hold: bool = False, die: str = "", steps: int = 0) -> str:
        plans[effect] = Plan(work_ms / 1000, hold, die, steps)
        return "ok"

    @app.get("/held/{effect}")
    async def held(effect: str) -> str:
        await plans[effect].held.wait()
        return "ok"

    @app.get("/release/{effect}")
    async def release(effect: str) -> str:
        plans[effect].released.set()
        return "ok"

    @app.get("/steps/{effect}")
    async def steps(effect: str) -> int:
        return plans[effect].counted

    @app.get("/effects/{effect}")
    async def effects(effect: str) -> int:
        return await count(effect)
