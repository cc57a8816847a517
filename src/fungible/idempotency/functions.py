"""Any function, run once for each key."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar, cast

from msgspec.structs import replace

from fungible.core.bridge import PATIENCE_S, run
from fungible.core.calls import Arguments, OfArguments, Template
from fungible.core.codec import UndecodableError, decode, encode
from fungible.core.errors import SettingError
from fungible.core.functions import FunctionError, function_name, is_async, refuse_unrun
from fungible.idempotency.claims import Claim, Claims, Finished, Request
from fungible.idempotency.errors import AnswerUnreadableError, FailedBeforeError, InvalidKeyError, LeaseLostError
from fungible.idempotency.fingerprints import digest_of
from fungible.idempotency.late import store_late
from fungible.idempotency.leases import Lease
from fungible.idempotency.options import Remedy
from fungible.stores.errors import StoreUnavailableError

if TYPE_CHECKING:
    from fungible.idempotency.keys import IdempotencyKeys

F = TypeVar("F", bound=Callable[..., Any])
DECORATOR = "@idempotent"


def idempotent(
    keys: IdempotencyKeys,
    *,
    key: str | Callable[..., str],
    ttl_s: float | None = None,
    wait_s: float | None = None,
    on_error: Remedy | None = None,
    compare: Callable[..., object] | None = None,
    name: str | None = None,
) -> Callable[[F], F]:
    """Makes a function, asynchronous or not, run once for each key; later calls get what the first one returned.

    The result must be of JSON's types, bytes, datetime, Decimal or UUID; a tuple comes back as a list, to the first
    caller, too. A coroutine function goes on when its caller is cancelled. A function that blocks runs in the thread that
    calls it, which must have no event loop.

    Args:
        keys: Where keys are kept; it needs a store.
        key: Gives the key from the function's arguments: a function, or a text such as `"charge:{order_id}"`.
        ttl_s: Seconds that results are kept; by default that of `keys`.
        wait_s: Seconds to wait for a call under way with the same key; by default that of `keys`.
        on_error: Where the function raises: `keep` raises `FailedBeforeError` at later calls, `free` runs again.
        compare: Gives from the arguments what must be equal in calls with one key; by default nothing is compared.
        name: Keeps the keys of several functions apart; by default the function's module and name. What has no name of its
            own, such as a partial function, needs one.
    Raises:
        SettingError: a setting can't be taken.
        FunctionError: what is decorated is a generator, a class, or nothing that can be called.
    """
    if keys.claims is None:
        raise SettingError("@idempotent needs keys in a store: IdempotencyKeys(store=open_store('redis://localhost'))")
    claims = keys.claims
    given = {"ttl_s": ttl_s, "wait_s": wait_s, "on_error": on_error}
    options = replace(keys.options, **{name: value for name, value in given.items() if value is not None})

    def decorated(function: F) -> F:
        to_await = is_async(function, DECORATOR)
        called = name or function_name(function)
        request_of = _requests(function, called, key=key, compare=compare, keys=keys, options=options)
        running: set[asyncio.Task[Any]] = set()

        if not to_await:

            @functools.wraps(function)
            def once_blocking(*args: Any, **kwargs: Any) -> Any:
                call = functools.partial(function, *args, **kwargs)
                return _called_once_blocking(_Call(claims, request_of(*args, **kwargs), running), call)

            return cast(F, once_blocking)

        @functools.wraps(function)
        async def once(*args: Any, **kwargs: Any) -> Any:
            call = functools.partial(function, *args, **kwargs)
            one = _Call(claims, request_of(*args, **kwargs), running)
            work = asyncio.create_task(_called_once(one, call))
            running.add(work)
            work.add_done_callback(running.discard)
            return await asyncio.shield(work)

        return cast(F, once)

    return decorated


def _requests(
    function: Callable[..., Any],
    called: str,
    *,
    key: str | Callable[..., str],
    compare: Callable[..., object] | None,
    keys: IdempotencyKeys,
    options: Any,
) -> Callable[..., Request]:
    """What makes of a call's arguments what it claims."""
    arguments = Arguments(function)
    # A retry may come with 7 and with "7": these are not told apart.
    of_key = Template(key, arguments.names, typed=False).filled if isinstance(key, str) else OfArguments(key, arguments)
    of_compare = None if compare is None else OfArguments(compare, arguments)

    def request_of(*args: Any, **kwargs: Any) -> Request:
        given = arguments.of(args, kwargs)
        found = of_key(given)
        if not found:
            raise InvalidKeyError(f"the key for {called} is empty")
        compared = b"" if of_compare is None else encode(of_compare(given))
        return keys.identity.call(called, found, digest_of(compared), options)

    return request_of


class _Call:
    """One call of a function: its claim, and its lease while the function runs."""

    def __init__(self, claims: Claims, request: Request, running: set[asyncio.Task[Any]]) -> None:
        self.request = request
        self._claims = claims
        self._running = running
        self._claim: Claim | None = None
        self._lease: Lease | None = None

    async def begin(self) -> Finished | None:
        """What was kept before; None where the function is to be run."""
        try:
            found = await self._claims.claim(self.request)
        except StoreUnavailableError as error:
            if self.request.options.on_unavailable == "refuse":
                raise
            self._claims.log.warn(f"{error}; functions run without protection until it answers")
            return None
        if isinstance(found, Finished):
            return found
        self._claim, self._lease = found, Lease(self._claims, found)
        await self._lease.__aenter__()
        return None

    async def rest(self) -> None:
        """Renews the lease no more."""
        lease, self._lease = self._lease, None
        if lease is not None:
            await lease.__aexit__(None, None, None)

    async def failed(self, error: Exception, *, ran: bool = True) -> None:
        """Keeps that the function has raised, or frees the key."""
        await self.rest()
        if self._claim is None:
            return
        if ran and self.request.options.on_error == "keep":
            await _keep(self._claims, self._claim, _failure(error), self._running)
        else:
            await _free(self._claims, self._claim)

    async def ended(self, value: Any) -> Any:
        """Keeps what the function has returned, and gives what everybody gets."""
        await self.rest()
        if self._claim is None:
            return value
        try:
            result = encode({"value": value})
        except TypeError as error:
            # It was run, and must not be again.
            await _keep(self._claims, self._claim, _failure(error), self._running)
            raise
        return _outcome(await _keep(self._claims, self._claim, result, self._running))


async def _called_once(one: _Call, call: Callable[[], Any]) -> Any:
    kept = await one.begin()
    if kept is not None:
        return _outcome(kept.result)
    try:
        value = await call()
    except Exception as error:
        await one.failed(error)
        raise
    except BaseException:
        await one.rest()
        raise
    return await one.ended(value)


def _called_once_blocking(one: _Call, call: functools.partial[Any]) -> Any:
    try:
        kept = run(one.begin(), timeout_s=PATIENCE_S + one.request.options.wait_s)
        if kept is not None:
            return _outcome(kept.result)
        try:
            value = call()
        except Exception as error:
            run(one.failed(error))
            raise
        try:
            refuse_unrun(value, call.func, DECORATOR)
        except FunctionError as error:
            run(one.failed(error, ran=False))
            raise
        return run(one.ended(value))
    except BaseException:
        # Also where this thread is interrupted while it waits: nobody else would end the renewing.
        run(one.rest())
        raise


def _failure(error: Exception) -> bytes:
    return encode({"error": [type(error).__name__, str(error)]})


def _outcome(result: bytes) -> Any:
    try:
        found = decode(result)
    except UndecodableError:
        raise AnswerUnreadableError from None
    if "error" in found:
        error_type, error_text = found["error"]
        raise FailedBeforeError(error_type=error_type, error_text=error_text)
    return found["value"]


async def _keep(claims: Claims, claim: Claim, result: bytes, running: set[asyncio.Task[Any]]) -> bytes:
    """What everybody gets: this result, or that of an attempt which was let in meanwhile."""
    most = claim.request.options.max_response_bytes
    kept = result if len(result) <= most else None
    if kept is None:
        claims.log.warn(f"a result is larger than max_response_bytes={most}: it is given, and later calls are told so")
    try:
        await claims.finish_late(claim, kept)
    except LeaseLostError:
        standing = await claims.standing(claim)
        if standing is None:
            raise
        return standing.result
    except StoreUnavailableError as error:
        claims.log.warn(f"a result is given, and will be stored later: {error}")
        late = asyncio.create_task(store_late(claims, claim, kept))
        running.add(late)
        late.add_done_callback(running.discard)
    return result


async def _free(claims: Claims, claim: Claim) -> None:
    try:
        await claims.free(claim)
    except (LeaseLostError, StoreUnavailableError) as error:
        claims.log.warn(f"a key is free only after its lease: {error}")
