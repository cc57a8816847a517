"""What a handler sees of the attempt that it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, cast

from fungible.core.asgi import Scope
from fungible.core.sealing import to_base64url
from fungible.idempotency.errors import LeaseLostError, TransactionError
from fungible.idempotency.fingerprints import digest_of

ATTEMPT: Final = "fungible.idempotency"
"""Where the attempt is in the ASGI scope."""


class Attempt:
    """One run of a handler under an idempotency key."""

    def __init__(
        self,
        key: str,
        record_key: str,
        *,
        is_lost: Callable[[], bool] | None = None,
        connection: Any = None,
        is_over: Callable[[], bool] | None = None,
    ) -> None:
        self.key = key
        """The key as the client sent it, without quotes."""
        self.kept: bool | None = None
        """What `keep` or `free` has decided; None: the status decides."""
        self._record_key = record_key
        self._is_lost = is_lost
        self._connection = connection
        self._is_over = is_over

    @property
    def connection(self) -> Any:
        """In transactional mode: the connection or session whose transaction holds the key's row; else None.

        Raises:
            TransactionError: the transaction is over, and the connection may be another request's by now.
        """
        if self._is_over is not None and self._is_over():
            raise TransactionError(
                "the transaction of this attempt is over: what follows an answer needs a connection of its own"
            )
        return self._connection

    def derived_key(self, name: str) -> str:
        """A key for a call that the handler makes to another service: the same in every attempt under this key.

        Args:
            name: Tells the calls of one handler apart: `charge`.
        """
        return to_base64url(digest_of(b"derived", self._record_key.encode(), name.encode()))

    def keep(self) -> None:
        """Says that work has begun: the answer is kept, whatever its status."""
        self.kept = True

    def free(self) -> None:
        """Says that nothing was done: the answer is not kept, whatever its status, and a retry runs again."""
        self.kept = False

    @property
    def lost(self) -> bool:
        """Whether another attempt may have the key by now.

        In a store's lease: a renewal has found so, or the last one that succeeded is older than the lease, less a tenth, by a
        clock that goes on while the process is stopped and the machine suspended. In a transaction: the connection is lost,
        as far as its driver knows.
        """
        return self._is_lost is not None and self._is_lost()

    def check(self) -> None:
        """To be called before what can't be undone.

        Where it raises, and `keep` was not said, nothing is kept of this attempt: what it answers is not its key's answer.

        Raises:
            LeaseLostError: this attempt has lost its lease, so that another may be doing the same.
        """
        if self.lost:
            if self.kept is None:
                self.kept = False
            raise LeaseLostError


def attempt_of(request: Any) -> Attempt | None:
    """The attempt that a request is; None where it has no key, or is not guarded.

    Args:
        request: A request of Starlette or FastAPI, or an ASGI scope.
    """
    return scope_of(request).get(ATTEMPT)


def scope_of(request: Any) -> Scope:
    """The ASGI scope of a request, or the scope itself."""
    return cast(Scope, getattr(request, "scope", request))
