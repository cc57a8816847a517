"""FastAPI: a limit for one route or router, as a dependency or as a decorator.

The `LimitMiddleware` around the application counts, and tells clients; here as in any ASGI application.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, Final, TypeVar, cast

from fastapi import Depends
from starlette.requests import HTTPConnection

from fungible.core.functions import is_async
from fungible.limits import Limit, limit_request

__all__ = ["rate_limit", "rate_limited"]

F = TypeVar("F", bound=Callable[..., Any])
PARAMETER: Final = "fungible_rate_limit"
BY_NAME: Final = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def rate_limit(*limits: Limit) -> Any:
    """Limits for a route or a router: `@app.post("/sign-in", dependencies=[rate_limit(sign_in)])`.

    Over a limit the request is answered by the middleware: 429, or 503 where the store is away and the limit is closed
    then. They are asked before the route's own dependencies.

    Raises:
        SettingError: by the route, if the application has no `LimitMiddleware`.
    """

    async def count(connection: HTTPConnection) -> None:
        await limit_request(connection, *limits)

    return Depends(count)


def rate_limited(*limits: Limit) -> Callable[[F], F]:
    """The same as a decorator of one endpoint, asynchronous or not. It stands below that of the route:

        @app.post("/sign-in")
        @rate_limited(sign_in)
        async def sign_in_user(…): …

    Raises:
        FunctionError: what is decorated is a generator, a class, or nothing that can be called.
    """
    dependency = rate_limit(*limits)

    def decorate(function: F) -> F:
        def asked(kwargs: dict[str, Any]) -> dict[str, Any]:
            return {name: value for name, value in kwargs.items() if name != PARAMETER}

        @functools.wraps(function)
        async def awaited(*args: Any, **kwargs: Any) -> Any:
            return await function(*args, **asked(kwargs))

        @functools.wraps(function)
        def blocking(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **asked(kwargs))

        endpoint: Any = awaited if is_async(function, "@rate_limited") else blocking
        endpoint.__signature__ = _with_dependency(function, dependency)
        return cast(F, endpoint)

    return decorate


def _with_dependency(function: Callable[..., Any], dependency: Any) -> inspect.Signature:
    """The signature by which FastAPI calls, with the limit before all that the endpoint asks for itself."""
    try:
        # Here, as FastAPI would look for the names in this module.
        signature = inspect.signature(function, eval_str=True)
    except NameError:
        signature = inspect.signature(function)
    own = [
        # By name: else nothing could come before what has no default.
        each.replace(kind=inspect.Parameter.KEYWORD_ONLY) if each.kind in BY_NAME else each
        for each in signature.parameters.values()
    ]
    ours = inspect.Parameter(PARAMETER, inspect.Parameter.KEYWORD_ONLY, default=dependency, annotation=None)
    first = next((place for place, each in enumerate(own) if each.kind is inspect.Parameter.KEYWORD_ONLY), len(own))
    return signature.replace(parameters=[*own[:first], ours, *own[first:]])
