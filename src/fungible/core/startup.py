"""A mistake in a middleware's settings ends the server when it starts, also where a framework builds middleware late.

Starlette and FastAPI note a middleware down and build it in their first call, which is that of the lifespan. What it
raises there, servers take for an application without lifespan: they go on, and every request is answered by 500. What
ends all of them is the message `lifespan.startup.failed`. Source: the ASGI specification, lifespan protocol.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import wraps
from types import new_class
from typing import Any, Concatenate, Final, ParamSpec, TypeVar, cast

from fungible.core.asgi import Receive, Scope, Send
from fungible.core.errors import FungibleError, SettingError

BUILT_LATE_BY: Final = "build_middleware_stack"
"""The method of Starlette and FastAPI that builds what was noted down."""
P = ParamSpec("P")
S = TypeVar("S")


def ends_the_server(init: Callable[Concatenate[S, P], None]) -> Callable[Concatenate[S, P], None]:
    """For the `__init__` of a middleware: what it raises ends the server.

    Where the application builds the middleware itself, that is raised as ever. What a framework builds late refuses in
    its place: it lets no server start, and no request in.
    """

    @wraps(init)
    def __init__(self: S, *args: P.args, **options: P.kwargs) -> None:
        try:
            init(self, *args, **options)
        except Exception as error:
            if not _built_late():
                raise
            # A constructor can't give another object than the one it was called for, and half of one must not serve.
            half = cast(Any, self)
            half.__class__ = new_class(
                type(self).__name__, (type(self),), exec_body=lambda names: names.update(__call__=_refuse)
            )
            half.refused_for = error

    return __init__


def _built_late() -> bool:
    """Whether a framework builds the middleware in a call by the server."""
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_code.co_name == BUILT_LATE_BY:
            return True
        frame = frame.f_back
    return False


async def _refuse(self: Any, scope: Scope, receive: Receive, send: Send) -> None:
    """Ends the server by its lifespan; raises at requests, which come where a server runs without lifespan."""
    error: Exception = self.refused_for
    words = str(error) if isinstance(error, FungibleError) else f"{type(error).__name__}: {error}"
    words = f"{type(self).__name__}: {words}"
    if scope["type"] != "lifespan":
        raise SettingError(words) from error
    await receive()
    await send({"type": "lifespan.startup.failed", "message": words})
