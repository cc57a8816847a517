"""The key's row: claimed, finished and swept, as plans that know no driver.

A plan yields the statements to run and the pauses to make, and is sent what they gave. So the same plan serves
connections that are awaited, and those that are not.
"""

from __future__ import annotations

import asyncio
import inspect
import math
import random
import time
from collections.abc import Awaitable, Callable, Generator
from typing import Any, Final, NamedTuple, TypeVar

from fungible.idempotency.claims import Request
from fungible.idempotency.errors import (
    KeyReusedError,
    OutcomeUnknownError,
    ResponseNotKeptError,
    TooManyKeysError,
    TransactionError,
    Unfinished,
)
from fungible.idempotency.fingerprints import digest_of
from fungible.idempotency.responses import StoredResponse, decoded_headers, encoded_headers
from fungible.idempotency.sql import statements as sql
from fungible.idempotency.sql.connections import Adapter, Result, is_away, is_locked, is_outdated, refuse_awaited
from fungible.idempotency.sql.statements import Dialect, Statement

T = TypeVar("T")
FIRST_PAUSE_S: Final = 0.005
LONGEST_PAUSE_S: Final = 0.25
QUOTA_RETRY_S: Final = 60.0
PART_BYTES: Final = 1 << 20
"""A longer body is kept in several rows: MySQL takes packets of 4 MiB by default in its older releases, and a driver that
escapes bytes may double them."""
NOBODY: Final = bytes(32)
"""The caller of such rows, which count for nobody's quota."""


class Pause(NamedTuple):
    """Seconds in which nothing is done."""

    seconds: float


Plan = Generator[Statement | Pause, Result, T]


class Kept(NamedTuple):
    """What an earlier request has left."""

    response: StoredResponse
    expires_at: float
    """Unix seconds."""


class Row:
    """The row of one request's key.

    Args:
        lock_wait_s: How long to wait where the whole database is locked by another: SQLite's way.
        abandon_s: After how many seconds PostgreSQL ends the transaction, if nothing is done in it.
    """

    def __init__(
        self,
        dialect: Dialect,
        request: Request,
        *,
        lock_wait_s: float,
        abandon_s: float | None = None,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._dialect: Dialect = dialect
        self._request = request
        self._lock_wait_s = lock_wait_s
        self._abandon = None if abandon_s is None else f"{math.ceil(abandon_s * 1000)}ms"
        self._now = now
        self._monotonic = monotonic

    def claim(self) -> Plan[Kept | None]:
        """Writes the row, in the caller's transaction; or gives what stands there.

        Raises:
            Unfinished: another transaction has it.
            KeyReusedError: the key is another request's.
            OutcomeUnknownError: a transaction was committed without an answer.
            TooManyKeysError: the caller has too many.
        """
        plans = {"postgresql": self._claim_postgresql, "mysql": self._claim_mysql, "sqlite": self._claim_sqlite}
        kept = yield from plans[self._dialect]()
        max_keys = self._request.options.max_keys
        if kept is None and max_keys is not None:
            counted = yield Statement(sql.COUNT, self._values())
            if counted.rows[0][0] > max_keys:
                raise TooManyKeysError(max_keys=max_keys, retry_after_s=QUOTA_RETRY_S)
        return kept

    def finish(self, response: StoredResponse, *, ttl_s: float | None = None) -> Plan[float]:
        """Writes the response into the row.

        Args:
            ttl_s: Seconds that it is kept, if not those of the options.
        Returns:
            When it expires, in Unix seconds.
        Raises:
            TransactionError: the row is not there: the transaction in which it was written has been ended.
        """
        expires_at = self._now() + (ttl_s or self._request.options.ttl_s)
        expires_ms = math.floor(expires_at * 1000)
        in_parts = len(response.body) > PART_BYTES
        if in_parts:
            yield from self._write_parts(response.body, expires_ms)
        values: dict[str, object] = {
            "key": self._request.key,
            "fingerprint": self._request.fingerprint,
            "status": response.status,
            "headers": encoded_headers(response.headers),
            "body": None if in_parts else response.body,
            "expires_ms": expires_ms,
        }
        done = yield Statement(sql.FINISH[self._dialect], values)
        if not (done.rows or done.affected > 0):
            raise TransactionError(
                "the key's row is not there any more: the transaction in which it was written was committed or rolled "
                "back by something else, and may be ended only by who began it"
            )
        return expires_at

    def _claim_postgresql(self) -> Plan[Kept | None]:
        values = self._values()
        # One number of 64 bits: two keys with the same one would take turns, and nothing else.
        lock = int.from_bytes(digest_of(self._request.key.encode())[:8], "big", signed=True)
        until, pause_s = self._monotonic() + self._request.options.wait_s, FIRST_PAUSE_S
        while True:
            if (
                kept := (yield from self._kept((yield Statement(sql.SELECT["postgresql"], {"key": values["key"]}))))
            ) is not None:
                return kept
            try:
                claimed = yield Statement(sql.claim_sql(), {**values, "lock": lock, "abandon": self._abandon})
            except Exception as error:
                raise self._unfinished(error) from error
            if claimed.rows:
                return None
            if self._monotonic() >= until:
                # Unless it was finished between the two statements.
                if (
                    kept := (yield from self._kept((yield Statement(sql.SELECT["postgresql"], {"key": values["key"]}))))
                ) is None:
                    raise Unfinished(retry_after_s=self._request.options.retry_after_s)
                return kept
            pause_s = yield from self._pause(pause_s, until)

    def _claim_mysql(self) -> Plan[Kept | None]:
        # Who comes second waits for the first one's transaction, for whole seconds.
        seconds = max(1, math.ceil(self._request.options.wait_s))
        yield Statement(sql.MYSQL_WAIT.format(seconds=seconds), {})
        try:
            while True:
                if (yield Statement(sql.INSERT["mysql"], self._values())).affected > 0:
                    break
                kept = yield from self._kept((yield Statement(sql.SELECT["mysql"], {"key": self._request.key})))
                if kept is not None:
                    yield Statement(sql.MYSQL_WAIT_AS_BEFORE, {})
                    return kept
                yield Statement(sql.DELETE, {"key": self._request.key, "now_ms": self._now_ms()})
        except Exception as error:
            if not is_away(error):
                yield Statement(sql.MYSQL_WAIT_AS_BEFORE, {})
            raise self._unfinished(error) from error
        yield Statement(sql.MYSQL_WAIT_AS_BEFORE, {})
        return None

    def _claim_sqlite(self) -> Plan[Kept | None]:
        # SQLite would wait for its lock in the statement, and the event loop with it: so it is told not to.
        before = (yield Statement(sql.SQLITE_WAIT, {})).rows[0][0]
        until, pause_s = self._monotonic() + max(self._lock_wait_s, self._request.options.wait_s), FIRST_PAUSE_S
        yield Statement(sql.SQLITE_SET_WAIT.format(milliseconds=0), {})
        try:
            while True:
                try:
                    if (yield Statement(sql.INSERT["sqlite"], self._values())).affected > 0:
                        return None
                    kept = yield from self._kept((yield Statement(sql.SELECT["sqlite"], {"key": self._request.key})))
                    if kept is not None:
                        return kept
                    yield Statement(sql.DELETE, {"key": self._request.key, "now_ms": self._now_ms()})
                except Exception as error:
                    if not is_locked(error) or is_outdated(error) or self._monotonic() >= until:
                        raise self._unfinished(error) from error
                    pause_s = yield from self._pause(pause_s, until)
        finally:
            yield Statement(sql.SQLITE_SET_WAIT.format(milliseconds=before), {})

    def _pause(self, pause_s: float, until: float) -> Plan[float]:
        yield Pause(max(0.0, min(pause_s * random.uniform(0.5, 1), until - self._monotonic())))
        return min(pause_s * 1.6, LONGEST_PAUSE_S)

    def _unfinished(self, error: Exception) -> Exception:
        """What a failed claim means for who sent the request."""
        return Unfinished(retry_after_s=self._request.options.retry_after_s) if is_locked(error) else error

    def _kept(self, found: Result) -> Plan[Kept | None]:
        """The row that stands, if it has not expired."""
        if not found.rows:
            return None
        fingerprint, status, headers, body, expires_ms = found.rows[0]
        if expires_ms <= self._now_ms():
            return None
        if bytes(fingerprint) != self._request.fingerprint:
            raise KeyReusedError
        if status is None:
            raise OutcomeUnknownError
        whole = (yield from self._parts()) if body is None else bytes(body)
        return Kept(StoredResponse(status, decoded_headers(bytes(headers)), whole), expires_ms / 1000)

    def _parts(self) -> Plan[bytes]:
        """A body that is in rows of its own."""
        parts: list[bytes] = []
        left = 1
        while left:
            found = yield Statement(sql.SELECT[self._dialect], {"key": self._part(len(parts))})
            if not found.rows:
                raise ResponseNotKeptError
            _, left, _, body, _ = found.rows[0]
            parts.append(bytes(body))
        return b"".join(parts)

    def _write_parts(self, body: bytes, expires_ms: int) -> Plan[None]:
        """Writes a body into rows of its own: what a database takes in one statement is bounded, in MySQL by a packet."""
        starts = range(0, len(body), PART_BYTES)
        for number, start in enumerate(starts):
            key = self._part(number)
            # Of an earlier life of the key, and not swept yet.
            yield Statement(sql.DELETE_PART, {"key": key})
            values: dict[str, object] = {
                "key": key,
                "caller": NOBODY,
                "fingerprint": self._request.fingerprint,
                "left": len(starts) - 1 - number,
                "body": body[start : start + PART_BYTES],
                "expires_ms": expires_ms,
            }
            yield Statement(sql.INSERT_PART, values)

    def _part(self, number: int) -> str:
        return f"{self._request.key}:{number}"

    def _now_ms(self) -> int:
        return math.floor(self._now() * 1000)

    def _values(self) -> dict[str, object]:
        request, now_ms = self._request, self._now_ms()
        return {
            "key": request.key,
            "caller": request.caller,
            "fingerprint": request.fingerprint,
            "expires_ms": now_ms + math.floor(request.options.ttl_s * 1000),
            "now_ms": now_ms,
        }


def sweep(dialect: Dialect, *, now: float, most: int) -> Plan[int]:
    """Deletes expired rows, and gives how many."""
    now_ms = math.floor(now * 1000)
    expired = yield Statement(sql.EXPIRED[dialect], {"now_ms": now_ms, "most": most})
    if not expired.rows:
        return 0
    keys: dict[str, object] = {f"key{index}": found[0] for index, found in enumerate(expired.rows)}
    statement = sql.SWEEP.format(keys=", ".join(f":{name}" for name in keys))
    yield Statement(statement, {**keys, "now_ms": now_ms})
    return len(keys)


def create(dialect: Dialect) -> Plan[None]:
    """Makes the table where there is none."""
    waiting = sql.create_statements(dialect)
    while waiting:
        yield waiting.pop(0)


async def carry_out(
    plan: Plan[T], adapter: Adapter, *, sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
) -> T:
    """Runs a plan on a connection. Where it is cancelled, the plan still puts back what it has set."""
    step = _first(plan)
    while not isinstance(step, _Over):
        try:
            if isinstance(step, Pause):
                await sleep(step.seconds)
                given = Result()
            else:
                found = adapter.run(step)
                given = await found if inspect.isawaitable(found) else found
        except BaseException as error:
            step = _next(plan, lambda error=error: plan.throw(error))
        else:
            step = _next(plan, lambda given=given: plan.send(given))
    return step.value


def carry_out_sync(plan: Plan[T], adapter: Adapter) -> T:
    """The same on a connection that is not awaited."""
    step = _first(plan)
    while not isinstance(step, _Over):
        try:
            if isinstance(step, Pause):
                time.sleep(step.seconds)
                given = Result()
            else:
                found = adapter.run(step)
                given = refuse_awaited(found)
        except BaseException as error:
            step = _next(plan, lambda error=error: plan.throw(error))
        else:
            step = _next(plan, lambda given=given: plan.send(given))
    return step.value


class _Over(NamedTuple):
    """A plan has come to its end."""

    value: Any


def _first(plan: Plan[Any]) -> Statement | Pause | _Over:
    return _next(plan, lambda: next(plan))


def _next(plan: Plan[Any], proceed: Callable[[], Statement | Pause]) -> Statement | Pause | _Over:
    try:
        return proceed()
    except StopIteration as over:
        return _Over(over.value)
