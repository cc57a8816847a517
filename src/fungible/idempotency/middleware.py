"""The middleware for any ASGI application, with keys in a store: one effect for many retries, but for crashes.

Source: draft-ietf-httpapi-idempotency-key-header-07.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Literal

from fungible.core.asgi import App
from fungible.core.startup import ends_the_server
from fungible.idempotency.attempts import ATTEMPT, Attempt
from fungible.idempotency.callers import CallerOf
from fungible.idempotency.claims import Claim, Claims, Finished, Request
from fungible.idempotency.errors import HandlerFailedError, LeaseLostError, ResponseTooLargeError
from fungible.idempotency.guarding import UNGUARDED, Answer, Guard, away
from fungible.idempotency.identity import Fingerprint, Identity
from fungible.idempotency.late import store_late
from fungible.idempotency.leases import Lease
from fungible.idempotency.options import (
    DEFAULT_LEASE_S,
    DEFAULT_REFUSAL_TTL_S,
    DEFAULT_RESPONSE_BYTES,
    DEFAULT_TTL_S,
    NOT_BEGUN,
    AfterCrash,
    Remedy,
    Routes,
    Unavailable,
    options_from,
)
from fungible.idempotency.responses import REPLAYED, StoredResponse, decoded, encoded, expires_header, problem_of
from fungible.idempotency.running import Run
from fungible.stores.contract import Store
from fungible.stores.errors import RecordTooLargeError, StoreUnavailableError
from fungible.stores.postures import Deployment, Home, require


class IdempotencyMiddleware(Guard):
    """Answers a request with an `Idempotency-Key` once by the application, and its retries by what that answered.

    A crash in the middle of a request leaves the effect without its memory, or none of both: see `after_crash`, and
    `TransactionalIdempotency` where both are in one SQL database.

    Args:
        app: The ASGI application.
        store: Where keys and answers are kept.
        required: Whether a request without a key is refused (400).
        ttl_s: Seconds that an answer is kept for retries.
        refusal_ttl_s: The same for answers from 400 to 499 to callers whom nobody has authenticated before us.
        lease_s: Seconds after which the key of a crashed attempt is free. A live attempt renews it.
        wait_s: Seconds that a retry waits for an attempt under way, before it is refused (409).
        scope: Gives the caller of an ASGI scope, None for nobody; in place of who is authenticated.
        caller_header: Where nobody was authenticated before us: the header whose value stands for the caller.
        anonymous: A request by nobody: `refuse` it (400), or let all of them `share` their keys.
        methods: Of which requests.
        max_body_bytes: Longest body of a request with a key (413).
        max_response_bytes: Longest response that is kept, headers and body, in as many records as it takes. A longer one is
            sent all the same, and retries are told that it was not kept (409).
        on_unavailable: While the store is away: `refuse` (503), or `open`: run without protection.
        on_error: Where the handler raised: `keep` answers 500 to retries as well, `free` lets them run again.
        after_crash: Where an attempt was cut off: `retry` runs again (at least once), `refuse` never (at most once).
        skip_statuses: Responses that are not kept, as no handler answers them once it has begun.
        max_keys: How many keys a caller may begin at once (429); they come back evenly over `ttl_s`.
        retry_after_s: What `Retry-After` says.
        routes: Options by path, for all from `required` on but those of the caller: `{"/payments": {"required": True}}`.
        namespace: Keeps applications apart that share a store.
        fingerprint: Digest of what must be equal in two requests with one key, from scope and body.
        drain_s: How long the server's shutdown waits for work whose client has gone.
        instances: How many instances run; by default what the environment says in `FUNGIBLE_INSTANCES`, else 1.
        machines: On how many machines; by default `FUNGIBLE_MACHINES`, else as many as instances.
    Raises:
        SettingError: a setting can't be taken.
        PostureError: several instances can't share keys that are kept there.
    """

    @ends_the_server
    def __init__(
        self,
        app: App,
        *,
        store: Store,
        required: bool = False,
        ttl_s: float = DEFAULT_TTL_S,
        refusal_ttl_s: float = DEFAULT_REFUSAL_TTL_S,
        lease_s: float = DEFAULT_LEASE_S,
        wait_s: float = 0,
        scope: CallerOf | None = None,
        caller_header: str | None = "authorization",
        anonymous: Literal["refuse", "share"] = "refuse",
        methods: Iterable[str] = ("POST", "PATCH"),
        max_body_bytes: int = 4 << 20,
        max_response_bytes: int = DEFAULT_RESPONSE_BYTES,
        on_unavailable: Unavailable = "refuse",
        on_error: Remedy = "keep",
        after_crash: AfterCrash = "retry",
        skip_statuses: Iterable[int] = NOT_BEGUN,
        max_keys: int | None = None,
        retry_after_s: float = 1,
        routes: Mapping[str, Mapping[str, Any]] | None = None,
        namespace: str = "",
        fingerprint: Fingerprint | None = None,
        drain_s: float = 30,
        instances: int | None = None,
        machines: int | None = None,
    ) -> None:
        base = options_from(
            {
                "required": required,
                "ttl_s": ttl_s,
                "refusal_ttl_s": refusal_ttl_s,
                "lease_s": lease_s,
                "wait_s": wait_s,
                "methods": methods,
                "max_body_bytes": max_body_bytes,
                "max_response_bytes": max_response_bytes,
                "on_unavailable": on_unavailable,
                "on_error": on_error,
                "after_crash": after_crash,
                "skip_statuses": skip_statuses,
                "max_keys": max_keys,
                "retry_after_s": retry_after_s,
            }
        )
        identity = Identity(
            scope=scope,
            caller_header=caller_header,
            anonymous=anonymous,
            namespace=namespace,
            fingerprint=fingerprint,
        )
        found = Routes(base, routes)
        super().__init__(app, identity=identity, routes=found, drain_s=drain_s)
        self._claims = claims_over(store, instances=instances, machines=machines)
        self._homes = homes_of(store)

    def homes(self) -> Sequence[Home]:
        """Where this middleware keeps state, for `fungible doctor`."""
        return self._homes

    @classmethod
    def homes_declared(cls, *, store: Store | None = None, **_others: Any) -> Sequence[Home]:
        """Where a middleware with these settings would keep state, for `fungible doctor`."""
        return () if store is None else homes_of(store)

    async def drain(self) -> None:
        """Waits until all work is done, for `drain_s` seconds at most. Servers that end call it by `lifespan`."""
        await super().drain()
        await self._claims.settled()

    async def answer(self, key: str, request: Request, run: Run) -> Answer:
        """Does the work of a request, or finds what was done before."""
        try:
            found = await self._claims.claim(request)
        except StoreUnavailableError as error:
            done = "run without protection" if request.options.on_unavailable == "open" else "refused"
            self._claims.log.warn(f"{error}; requests with an Idempotency-Key are {done} until it answers")
            return UNGUARDED if request.options.on_unavailable == "open" else Answer(away(request.options))
        if isinstance(found, Finished):
            return _replay(found)
        run.scope[ATTEMPT] = attempt = Attempt(key, request.key, is_lost=lambda: found.lost)
        async with Lease(self._claims, found):
            self.track(run.start())
            response, status = None, 0
            try:
                response = await run.response()
                status = response.status
                keep = status not in request.options.skip_statuses
            except ResponseTooLargeError:
                # It is done, and to say anything else would ask for a second one: the client gets it, and retries can't.
                status = run.status
                keep = status not in request.options.skip_statuses
            except Exception:
                if attempt.kept is False or (attempt.kept is None and request.options.on_error == "free"):
                    await self._free(found)
                    raise
                response, keep = problem_of(HandlerFailedError()), True
                status = response.status
            keep = keep if attempt.kept is None else attempt.kept
            ttl_s = request.options.kept_s(status, proven=request.proven or attempt.kept is True)
            result = None if response is None else encoded(response)
            if keep and result is not None:
                # Tried again below, where that fails.
                with suppress(StoreUnavailableError, RecordTooLargeError):
                    await self._claims.spread(found, result, ttl_s=ttl_s)
        if keep:
            return await self._kept(found, response, result, ttl_s)
        if attempt.lost and (standing := await self._standing(found)) is not None:
            return _replay(standing)
        await self._free(found)
        return Answer(response, through=response is None)

    async def _standing(self, claim: Claim) -> Finished | None:
        """What another attempt has answered meanwhile, as far as the store can be asked."""
        try:
            return await self._claims.standing(claim)
        except StoreUnavailableError:
            return None

    async def _kept(self, claim: Claim, response: StoredResponse | None, result: bytes | None, ttl_s: float) -> Answer:
        if response is None:
            most = claim.request.options.max_response_bytes
            self._claims.log.warn(
                f"an answer is longer than max_response_bytes={most}: it is sent, and retries are told that it was not kept"
            )
        try:
            expires_at = await self._claims.finish_late(claim, result, ttl_s=ttl_s)
        except LeaseLostError:
            # Another attempt has been let in, so this answer may be one of two. Everybody gets the one that is kept.
            standing = await self._claims.standing(claim)
            if standing is None:
                raise
            return _replay(standing)
        except StoreUnavailableError as error:
            # The effect is there, and to say anything else would ask for a second one.
            self._claims.log.warn(f"an answer is given, and will be stored later: {error}")
            self.spawn(store_late(self._claims, claim, result, ttl_s=ttl_s), "fungible-idempotency-late")
            return Answer(response, through=response is None)
        if response is None:
            return Answer(None, through=True)
        return Answer(response, (expires_header(expires_at),))

    async def _free(self, claim: Claim) -> None:
        try:
            await self._claims.free(claim)
        except (LeaseLostError, StoreUnavailableError) as error:
            self._claims.log.warn(f"a key is free only after its lease: {error}")


def _replay(found: Finished) -> Answer:
    return Answer(decoded(found.result), (REPLAYED, expires_header(found.expires_at)))


def claims_over(store: Store, *, instances: int | None, machines: int | None) -> Claims:
    """Keys in a store, if the declared instances can share them there.

    Raises:
        PostureError: they can't.
    """
    require("idempotency-key", store, Deployment.declared(instances=instances, machines=machines))
    return Claims(store)


def homes_of(store: Store, seat: str = "IdempotencyMiddleware") -> Sequence[Home]:
    """Where keys are kept."""
    return (Home(kind="idempotency-key", home=store.home, guarantees=store.guarantees, seat=seat),)
