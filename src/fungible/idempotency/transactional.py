"""The middleware whose keys are rows in the application's own transaction: effect and memory commit together.

Source: draft-ietf-httpapi-idempotency-key-header-07.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Literal

from fungible.core.asgi import App
from fungible.core.errors import SettingError
from fungible.core.log import RepeatedWarning
from fungible.core.startup import ends_the_server
from fungible.idempotency.attempts import ATTEMPT, Attempt
from fungible.idempotency.callers import CallerOf
from fungible.idempotency.claims import Request
from fungible.idempotency.errors import HandlerFailedError, IdempotencyError, ResponseTooLargeError, Unfinished
from fungible.idempotency.guarding import Answer, Guard, away
from fungible.idempotency.identity import Fingerprint, Identity
from fungible.idempotency.options import (
    DEFAULT_REFUSAL_TTL_S,
    DEFAULT_RESPONSE_BYTES,
    DEFAULT_TTL_S,
    NOT_DONE,
    Remedy,
    Routes,
    options_from,
)
from fungible.idempotency.responses import REPLAYED, expires_header, problem_of
from fungible.idempotency.running import LOGGER, Run
from fungible.idempotency.sql.connections import Adapter, adapter_of, finished, is_away, is_locked, is_rolled_back
from fungible.idempotency.sql.rows import Row, carry_out, sweep
from fungible.stores.backoff import pauses
from fungible.stores.postures import Home

SWEEP_EVERY_S: Final = 60.0
SWEEP_MOST: Final = 500
TRIES: Final = 10
"""Of a transaction that the database has undone for others' sake before the handler began."""
MAX_ABANDON_S: Final = 86_400.0 * 24

Begin = Callable[[], AbstractAsyncContextManager[Any]]


def below_400(status: int) -> bool:
    """Whether a status says that what was asked for was done."""
    return status < 400


class _UndoneError(Exception):
    """Takes an answer out of a transaction that is to be rolled back."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer


class TransactionalIdempotency(Guard):
    """Runs a request with an `Idempotency-Key` in one SQL transaction with its key's row: exactly one effect.

    The transaction is begun before the handler runs and committed before the first byte of its answer is sent. The
    handler writes on `attempt_of(request).connection`, and neither commits nor rolls back. A crash, at any moment,
    leaves both effect and memory or none of them, and a retry runs at once or gets the answer.

    Args:
        app: The ASGI application.
        begin: Begins a transaction: gives an async context manager whose value is the connection, which commits where
            its block ends well and rolls back where it raises. `engine.begin` and `async_sessionmaker.begin` of
            SQLAlchemy do so.
        commits: Whether the effect of a response of that status is committed. What is answered otherwise is kept all
            the same, and what the handler had written is undone.
        required: Whether a request without a key is refused (400).
        ttl_s: Seconds that an answer is kept for retries.
        refusal_ttl_s: The same for answers from 400 to 499 to callers whom nobody has authenticated before us.
        wait_s: Seconds that a retry waits for an attempt under way, before it is refused (409).
        lock_wait_s: The same where SQLite's lock is another's: it is one for the whole database.
        abandon_s: Seconds after which PostgreSQL ends a transaction in which nothing is done: that of a machine that
            is gone, and of a handler that does something else for so long. None: as the server has it.
        scope: Gives the caller of an ASGI scope, None for nobody; in place of who is authenticated.
        caller_header: Where nobody was authenticated before us: the header whose value stands for the caller.
        anonymous: A request by nobody: `refuse` it (400), or let all of them `share` their keys.
        methods: Of which requests.
        max_body_bytes: Longest body of a request with a key (413).
        max_response_bytes: Longest response that is kept, in as many rows as it takes; of others the effect is undone, and
            the answer is 500.
        on_error: Where the handler raised, its effect is undone. `free` lets retries run again, `keep` answers them 500.
        skip_statuses: Responses that are not kept, as they ask for another try; what was written is undone.
        max_keys: How many live keys a caller may have (429).
        retry_after_s: What `Retry-After` says.
        routes: Options by path: `{"/payments": {"required": True}}`.
        namespace: Keeps applications apart that share a database.
        fingerprint: Digest of what must be equal in two requests with one key, from scope and body.
        drain_s: How long the server's shutdown waits for work whose client has gone.
        sweep_every_s: How often expired rows are deleted, while requests come; 0 for never.
    Raises:
        SettingError: a setting can't be taken.
    """

    @ends_the_server
    def __init__(
        self,
        app: App,
        *,
        begin: Begin,
        commits: Callable[[int], bool] = below_400,
        required: bool = False,
        ttl_s: float = DEFAULT_TTL_S,
        refusal_ttl_s: float = DEFAULT_REFUSAL_TTL_S,
        wait_s: float = 0,
        lock_wait_s: float = 5.0,
        abandon_s: float | None = 60.0,
        scope: CallerOf | None = None,
        caller_header: str | None = "authorization",
        anonymous: Literal["refuse", "share"] = "refuse",
        methods: Iterable[str] = ("POST", "PATCH"),
        max_body_bytes: int = 4 << 20,
        max_response_bytes: int = DEFAULT_RESPONSE_BYTES,
        on_error: Remedy = "free",
        skip_statuses: Iterable[int] = NOT_DONE,
        max_keys: int | None = None,
        retry_after_s: float = 1,
        routes: Mapping[str, Mapping[str, Any]] | None = None,
        namespace: str = "",
        fingerprint: Fingerprint | None = None,
        drain_s: float = 30,
        sweep_every_s: float = SWEEP_EVERY_S,
        now: Callable[[], float] = time.time,
    ) -> None:
        base = options_from(
            {
                "required": required,
                "ttl_s": ttl_s,
                "refusal_ttl_s": refusal_ttl_s,
                "wait_s": wait_s,
                "methods": methods,
                "max_body_bytes": max_body_bytes,
                "max_response_bytes": max_response_bytes,
                "on_error": on_error,
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
        if any(options.on_unavailable == "open" for options in found.each()):
            raise SettingError("on_unavailable='open' means nothing here: without its database no handler runs")
        if not lock_wait_s >= 0 or not sweep_every_s >= 0:
            raise SettingError(f"lock_wait_s={lock_wait_s!r} and sweep_every_s={sweep_every_s!r} must be 0 or more")
        if abandon_s is not None and not 0.001 <= abandon_s <= MAX_ABANDON_S:
            raise SettingError(f"abandon_s={abandon_s!r} must be a number of seconds above 0, or None")
        super().__init__(app, identity=identity, routes=found, drain_s=drain_s)
        self._log = RepeatedWarning(LOGGER)
        self._begin = begin
        self._commits = commits
        self._lock_wait_s = lock_wait_s
        self._abandon_s = abandon_s
        self._now = now
        self._sweep_every_s = sweep_every_s
        self._swept_at = float("-inf")

    def homes(self) -> Sequence[Home]:
        """Nothing: the keys are in the application's own database, and go where that goes."""
        return ()

    @classmethod
    def homes_declared(cls, **_others: Any) -> Sequence[Home]:
        """Nothing: the keys are in the application's own database, and go where that goes."""
        return ()

    async def answer(self, key: str, request: Request, run: Run) -> Answer:
        """Does the work of a request, or finds what was done before."""
        again, tries = pauses(), TRIES
        while True:
            broken = False
            try:
                async with self._begin() as connection:
                    adapter = adapter_of(connection)
                    try:
                        answer = await self._in_transaction(key, request, run, adapter)
                    except Exception:
                        # Asked while the connection is ours: later a pool has it back.
                        broken = adapter.broken()
                        raise
            except _UndoneError as undone:
                answer = undone.answer
            except Exception as error:
                tries -= 1
                if tries and run.task is None and is_rolled_back(error):
                    # Nothing of the application's was in it: it is ours to begin anew.
                    await asyncio.sleep(next(again))
                    continue
                if isinstance(error, IdempotencyError):
                    await run.abandon()
                    raise
                return await self._failed(error, request, run, broken=broken)
            break
        self._sweep_now_and_then()
        return answer

    async def _in_transaction(self, key: str, request: Request, run: Run, adapter: Adapter) -> Answer:
        await finished(adapter.check())
        row = Row(adapter.dialect, request, lock_wait_s=self._lock_wait_s, abandon_s=self._abandon_s, now=self._now)
        kept = await carry_out(row.claim(), adapter)
        if kept is not None:
            return Answer(kept.response, (REPLAYED, expires_header(kept.expires_at)))
        over = asyncio.Event()
        attempt = Attempt(key, request.key, is_lost=adapter.broken, connection=adapter.connection, is_over=over.is_set)
        try:
            return await self._worked(attempt, request, run, adapter, row)
        finally:
            # Before the pool has it back.
            over.set()

    async def _worked(self, attempt: Attempt, request: Request, run: Run, adapter: Adapter, row: Row) -> Answer:
        await adapter.savepoint()
        run.scope[ATTEMPT] = attempt
        self.track(run.start())
        undo = True
        try:
            response = await run.response()
            keep = response.status not in request.options.skip_statuses
            undo = not self._commits(response.status)
        except ResponseTooLargeError as error:
            await run.refuse()
            response, keep = problem_of(ResponseTooLargeError(max_bytes=error.max_bytes, undone=True)), True
        except Exception:
            if adapter.broken() or request.options.on_error == "free":
                raise
            response, keep = problem_of(HandlerFailedError(undone=True)), True
        if not (keep if attempt.kept is None else attempt.kept):
            raise _UndoneError(Answer(response))
        await (adapter.undo() if undo else adapter.release())
        proven = request.proven or not undo or attempt.kept is True
        ttl_s = request.options.kept_s(response.status, proven=proven)
        expires_at = await carry_out(row.finish(response, ttl_s=ttl_s), adapter)
        return Answer(response, (expires_header(expires_at),))

    async def _failed(self, error: Exception, request: Request, run: Run, *, broken: bool) -> Answer:
        """The answer where the transaction was not committed, or it is not known whether it was."""
        raised_by_handler = run.failed_with(error)
        begun = run.task is not None
        # What the application would do after its answer must not be done for an effect that is not there.
        await run.abandon()
        if not begun and is_locked(error):
            raise Unfinished(retry_after_s=request.options.retry_after_s) from error
        # What a driver says before the handler ran, whatever it is, asks for another try; a fault of ours does not.
        refused = not begun and (isinstance(error, OSError) or type(error).__module__ != "builtins")
        # A deadlock or a serialization failure undoes all of it, whoever has met it.
        if refused or broken or is_locked(error) or (not raised_by_handler and is_away(error)):
            # Nothing was committed; or it was, and then the retry gets its answer.
            # The first line alone: what follows has the statement's parameters.
            words = (str(error).splitlines() or [""])[0]
            self._log.warn(
                f"the transaction of a request with an idempotency key failed, and the client is asked to try again: "
                f"{type(error).__name__}: {words}"
            )
            LOGGER.debug("the transaction failed", exc_info=error)
            return Answer(away(request.options, begun=begun))
        raise error

    def _sweep_now_and_then(self) -> None:
        now = time.monotonic()
        if self._sweep_every_s and now - self._swept_at >= self._sweep_every_s:
            self._swept_at = now
            self.spawn(self._sweep(), "fungible-idempotency-sweep")

    async def _sweep(self) -> None:
        try:
            async with self._begin() as connection:
                adapter = adapter_of(connection)
                await carry_out(sweep(adapter.dialect, now=self._now(), most=SWEEP_MOST), adapter)
        except Exception as error:
            words = (str(error).splitlines() or [""])[0]
            self._log.warn(f"expired idempotency keys could not be deleted: {type(error).__name__}: {words}")
