"""A key's row in a transaction that the application has begun and will end."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, Self

from fungible.idempotency.attempts import Attempt
from fungible.idempotency.claims import Request
from fungible.idempotency.errors import ResponseTooLargeError, TransactionError
from fungible.idempotency.responses import REPLAYED, StoredResponse, expires_header, stored_form
from fungible.idempotency.sql.connections import Adapter, finished, refuse_awaited
from fungible.idempotency.sql.rows import Row, carry_out, carry_out_sync


class Transaction(Attempt):
    """What is done under a key, in one transaction with its memory. To be used by `async with`, or `with`.

    The row is written when the block begins, and the response into it when the block ends. Both become lasting with
    the effect, when the application commits: before it answers. If it rolls back instead, or crashes, nothing is left.
    """

    def __init__(self, key: str, request: Request, adapter: Adapter, row: Row) -> None:
        super().__init__(key, request.key, is_lost=adapter.broken, connection=adapter.connection)
        self.replay = False
        """Whether the work was done before: then `response` has what was answered, and nothing is to be done."""
        self.response: StoredResponse | None = None
        """The stored response, with the headers that mark it."""
        self._adapter = adapter
        self._row = row
        self._options = request.options
        self._finished: StoredResponse | None = None

    def finish(self, response: object) -> None:
        """Takes the response that is to be kept, which is written at the end of the block.

        Args:
            response: One of Starlette or FastAPI that does not stream, a `StoredResponse`, or (status, headers, body).
        Raises:
            TypeError: it is none of these.
            ResponseTooLargeError: it is longer than `max_response_bytes`. Raised out of the transaction it undoes it.
        """
        form = stored_form(response)
        most = self._options.max_response_bytes
        if form.size_bytes > most:
            raise ResponseTooLargeError(max_bytes=most, undone=True)
        self._finished = form

    async def __aenter__(self) -> Self:
        await finished(self._adapter.check())
        kept = await carry_out(self._row.claim(), self._adapter)
        return self._entered(kept)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None and not self.replay:
            await carry_out(self._row.finish(self._to_keep()), self._adapter, sleep=asyncio.sleep)

    def __enter__(self) -> Self:
        refuse_awaited(self._adapter.check())
        return self._entered(carry_out_sync(self._row.claim(), self._adapter))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None and not self.replay:
            carry_out_sync(self._row.finish(self._to_keep()), self._adapter)

    def _entered(self, kept: Any) -> Self:
        if kept is not None:
            self.replay = True
            self.response = kept.response.with_headers((REPLAYED, expires_header(kept.expires_at)))
        return self

    def _to_keep(self) -> StoredResponse:
        if self._finished is None:
            raise TransactionError("the block has ended without finish(response): a retry would have no answer")
        return self._finished
