"""Any async function, run once for each key."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from msgspec.structs import replace

from fungible.core.codec import decode, encode
from fungible.core.errors import SettingError
from fungible.idempotency.claims import Claim, Claims, Finished, Request
from fungible.idempotency.errors import FailedBeforeError, InvalidKeyError, LeaseLostError
from fungible.idempotency.fingerprints import digest_of
from fungible.idempotency.late import store_late
from fungible.idempotency.leases import Lease
from fungible.idempotency.options import Options, Remedy
from fungible.idempotency.running import LOGGER
from fungible.stores.errors import StoreUnavailableError

if TYPE_CHECKING:
    from fungible.idempotency.keys import IdempotencyKeys

P = ParamSpec("P")
T = TypeVar("T")


def idempotent(
    keys: IdempotencyKeys,
    *,
    key: str | Callable[..., str],
    ttl_s: float | None = None,
    wait_s: float | None = None,
    on_error: Remedy | None = None,
    compare: Callable[..., object] | None = None,
    name: str | None = None,
) -> Callable[[Callable[P, Awaitable[T]]], Callable[P, Awaitable[T]]]:
    """Makes an async function run once for each key; later calls get what the first one returned.

    The result must be of JSON's types, bytes, datetime, Decimal or UUID; a tuple comes back as a list, to the first
    caller, too. The call goes on when its caller is cancelled.

    Args:
        keys: Where keys are kept; it needs a store.
        key: Gives the key from the function's arguments: a function, or a text such as `"charge:{order_id}"`.
        ttl_s: Seconds that results are kept; by default that of `keys`.
        wait_s: Seconds to wait for a call under way with the same key; by default that of `keys`.
        on_error: Where the function raises: `keep` raises `FailedBeforeError` at later calls, `free` runs again.
        compare: Gives from the arguments what must be equal in calls with one key; by default nothing is compared.
        name: Keeps the keys of several functions apart; by default the function's module and name.
    Raises:
        SettingError: a setting can't be taken.
    """
    if keys.claims is None:
        raise SettingError("@idempotent needs keys in a store: IdempotencyKeys(store=open_store('redis://localhost'))")
    claims = keys.claims
    given = {"ttl_s": ttl_s, "wait_s": wait_s, "on_error": on_error}
    options = replace(keys.options, **{name: value for name, value in given.items() if value is not None})

    def decorated(function: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
        signature = inspect.signature(function)
        called = name or f"{function.__module__}.{function.__qualname__}"
        running: set[asyncio.Task[Any]] = set()

        def request_of(*args: P.args, **kwargs: P.kwargs) -> Request:
            if callable(key):
                found = key(*args, **kwargs)
            else:
                bound = signature.bind(*args, **kwargs)
                bound.apply_defaults()
                found = key.format(**bound.arguments)
            if not found:
                raise InvalidKeyError(f"the key for {called} is empty")
            compared = b"" if compare is None else encode(compare(*args, **kwargs))
            return keys.identity.call(called, found, digest_of(compared), options)

        @functools.wraps(function)
        async def once(*args: P.args, **kwargs: P.kwargs) -> T:
            call = functools.partial(function, *args, **kwargs)
            work = asyncio.create_task(_called_once(claims, request_of(*args, **kwargs), call, running))
            running.add(work)
            work.add_done_callback(running.discard)
            return await asyncio.shield(work)

        return once

    return decorated


async def _called_once(
    claims: Claims, request: Request, call: Callable[[], Awaitable[T]], running: set[asyncio.Task[Any]]
) -> T:
    options: Options = request.options
    try:
        found = await claims.claim(request)
    except StoreUnavailableError as error:
        if options.on_unavailable == "refuse":
            raise
        LOGGER.warning("%s", error)
        return await call()
    if isinstance(found, Finished):
        return _outcome(found.result)
    async with Lease(claims, found):
        try:
            value = await call()
        except Exception as error:
            if options.on_error == "free":
                await _free(claims, found)
            else:
                await _keep(claims, found, _failure(error), running)
            raise
    try:
        result = encode({"value": value})
    except TypeError as error:
        # It was run, and must not be again.
        await _keep(claims, found, _failure(error), running)
        raise
    return _outcome(await _keep(claims, found, result, running))


def _failure(error: Exception) -> bytes:
    return encode({"error": [type(error).__name__, str(error)]})


def _outcome(result: bytes) -> Any:
    found = decode(result)
    if "error" in found:
        error_type, error_text = found["error"]
        raise FailedBeforeError(error_type=error_type, error_text=error_text)
    return found["value"]


async def _keep(claims: Claims, claim: Claim, result: bytes, running: set[asyncio.Task[Any]]) -> bytes:
    """What everybody gets: this result, or that of an attempt which was let in meanwhile."""
    try:
        await claims.finish_late(claim, result)
    except LeaseLostError:
        standing = await claims.standing(claim)
        if standing is None:
            raise
        return standing.result
    except StoreUnavailableError as error:
        LOGGER.warning("a result is given, and will be stored later: %s", error)
        late = asyncio.create_task(store_late(claims, claim, result))
        running.add(late)
        late.add_done_callback(running.discard)
    return result


async def _free(claims: Claims, claim: Claim) -> None:
    try:
        await claims.free(claim)
    except (LeaseLostError, StoreUnavailableError) as error:
        LOGGER.warning("a key is free only after its lease: %s", error)
