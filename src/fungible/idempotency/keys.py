"""Keys for code of one's own: functions that run once, and transactions that hold their key's row."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Literal

from fungible.core.asgi import Scope
from fungible.core.errors import SettingError
from fungible.idempotency.attempts import scope_of
from fungible.idempotency.callers import CallerOf
from fungible.idempotency.errors import InvalidKeyError, MissingKeyError, RequestTooLargeError
from fungible.idempotency.header import key_in
from fungible.idempotency.identity import Fingerprint, Identity
from fungible.idempotency.middleware import claims_over, homes_of
from fungible.idempotency.options import options_from
from fungible.idempotency.sql.connections import adapter_of
from fungible.idempotency.sql.rows import Row, carry_out, create, sweep
from fungible.idempotency.sql.transactions import Transaction
from fungible.stores.contract import Store
from fungible.stores.postures import Home


class IdempotencyKeys:
    """Idempotency keys, for `@idempotent` (in a store) and for `transaction` (in the application's database).

    Args:
        store: Where keys of functions are kept; None where only transactions are used.
        scope: Gives the caller of an ASGI scope, None for nobody; in place of who is authenticated.
        caller_header: Where nobody was authenticated: the header whose value stands for the caller.
        anonymous: A request by nobody: `refuse` it, or let all of them `share` their keys.
        namespace: Keeps applications apart that share a store or a database.
        fingerprint: Digest of what must be equal in two requests with one key, from scope and body.
        lock_wait_s: How long a transaction waits for SQLite's lock, in seconds.
        instances: How many instances run; by default what the environment says in `FUNGIBLE_INSTANCES`, else 1.
        machines: On how many machines; by default `FUNGIBLE_MACHINES`, else as many as instances.
        options: See `Options`: `ttl_s`, `lease_s`, `wait_s`, `on_error`, `after_crash` and others.
    Raises:
        SettingError: a setting can't be taken.
        PostureError: several instances can't share keys that are kept there.
    """

    def __init__(
        self,
        store: Store | None = None,
        *,
        scope: CallerOf | None = None,
        caller_header: str | None = "authorization",
        anonymous: Literal["refuse", "share"] = "refuse",
        namespace: str = "",
        fingerprint: Fingerprint | None = None,
        lock_wait_s: float = 5.0,
        instances: int | None = None,
        machines: int | None = None,
        now: Callable[[], float] = time.time,
        **options: Any,
    ) -> None:
        if not lock_wait_s >= 0:
            raise SettingError(f"lock_wait_s={lock_wait_s!r} must be 0 or more seconds")
        self.options = options_from(options)
        self.identity = Identity(
            scope=scope,
            caller_header=caller_header,
            anonymous=anonymous,
            namespace=namespace,
            fingerprint=fingerprint,
        )
        self.claims = None if store is None else claims_over(store, instances=instances, machines=machines)
        self._store = store
        self._lock_wait_s = lock_wait_s
        self._now = now

    def homes(self) -> Sequence[Home]:
        """Where these keys are kept, for `fungible doctor`."""
        return () if self._store is None else homes_of(self._store, "IdempotencyKeys")

    def transaction(self, request: Any, connection: Any, *, body: bytes | None = None) -> Transaction:
        """The key of a request, in a transaction that was begun on a connection.

        Args:
            request: A request of Starlette or FastAPI whose body was read, or an ASGI scope.
            connection: One of asyncpg, asyncmy or sqlite3, or SQLAlchemy's `(Async)Connection` or `(Async)Session`.
            body: The request's body, where `request` does not have it.
        Raises:
            IdempotencyError: the request can't be taken; `answer_refusal` turns these errors into responses.
            TransactionError: the connection is of no known driver.
        """
        scope: Scope = scope_of(request)
        key = key_in(scope["headers"])
        if key is None:
            raise MissingKeyError
        return self.transaction_for(key, request, connection, body=body)

    def transaction_for(self, key: str, request: Any, connection: Any, *, body: bytes | None = None) -> Transaction:
        """The same with a key that is not in the request's header.

        Raises:
            InvalidKeyError: it is empty.
        """
        scope: Scope = scope_of(request)
        if not key:
            raise InvalidKeyError("the key is empty")
        found = body if body is not None else getattr(request, "_body", None)
        if found is None:
            raise SettingError("the request's body is not read yet: `await request.body()` first, or give body=")
        if len(found) > self.options.max_body_bytes:
            raise RequestTooLargeError(max_bytes=self.options.max_body_bytes)
        claimed = self.identity.request(scope, key, found, self.options)
        adapter = adapter_of(connection)
        row = Row(adapter.dialect, claimed, lock_wait_s=self._lock_wait_s, now=self._now)
        return Transaction(key, claimed, adapter, row)

    async def create_table(self, connection: Any) -> None:
        """Makes the table `fungible_idempotency` where there is none. Whoever began the transaction commits it."""
        adapter = adapter_of(connection)
        await carry_out(create(adapter.dialect), adapter)

    async def sweep(self, connection: Any, *, most: int = 1000) -> int:
        """Deletes rows that have expired, `most` at a time, and gives how many. Whoever began the transaction commits."""
        adapter = adapter_of(connection)
        return await carry_out(sweep(adapter.dialect, now=self._now(), most=most), adapter)
