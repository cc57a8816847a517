"""What can go wrong with an idempotency key: one class for each thing a caller does differently."""

from __future__ import annotations

from typing import ClassVar

from fungible.core.errors import FungibleError


class IdempotencyError(FungibleError):
    """Base of what this part raises. `status` is the HTTP status by which it is answered."""

    code = "idempotency"
    status: ClassVar[int] = 400
    title: ClassVar[str] = "Bad Request"
    retry_after_s: float | None = None
    """What `Retry-After` says, in seconds; None where trying again changes nothing."""


class MissingKeyError(IdempotencyError):
    """The request has no `Idempotency-Key`, and needs one."""

    code = "idempotency_key_missing"

    def __init__(self) -> None:
        super().__init__(
            "this operation needs the header Idempotency-Key: send a new random value, such as a UUID, with each "
            "operation, and the same value with each retry of it"
        )


class InvalidKeyError(IdempotencyError):
    """The `Idempotency-Key` is none: empty, too long, or with characters that it can't have."""

    code = "idempotency_key_invalid"


class UnknownCallerError(IdempotencyError):
    """Nobody is authenticated, so that another visitor with the same key would be handed this one's answer."""

    code = "idempotency_caller_unknown"

    def __init__(self, *, scheme: str | None = None) -> None:
        why = (
            f"credentials of the scheme {scheme!r} are others at each try" if scheme else "this one has no credentials"
        )
        super().__init__(
            f"a request with an Idempotency-Key must say who sends it, since keys are kept apart by caller, and {why}"
        )


class KeyReusedError(IdempotencyError):
    """The key came before with another request: another target, content type or body."""

    code = "idempotency_key_reused"
    status = 422
    title = "Unprocessable Content"

    def __init__(self) -> None:
        super().__init__("this Idempotency-Key was used for another request: use a new key for a new operation")


class Unfinished(IdempotencyError):
    """The first request with this key is still under way: try again a little later, with the same key."""

    code = "idempotency_unfinished"
    status = 409
    title = "Conflict"

    def __init__(self, *, retry_after_s: float = 1) -> None:
        super().__init__("the first request with this Idempotency-Key is still under way: try again, with the same key")
        self.retry_after_s = retry_after_s


class OutcomeUnknownError(IdempotencyError):
    """An attempt with this key began and never ended, and the key is kept for at most one: nobody knows its outcome."""

    code = "idempotency_outcome_unknown"
    status = 409
    title = "Conflict"

    def __init__(self) -> None:
        super().__init__(
            "an earlier request with this Idempotency-Key was cut off, and it is not known whether it took effect: "
            "look whether it did before you begin anew with another key"
        )


class AnswerUnreadableError(IdempotencyError):
    """The operation was carried out, and its answer is kept in a form that this release can't read."""

    code = "idempotency_answer_unreadable"
    status = 503
    title = "Service Unavailable"
    retry_after_s = 1

    def __init__(self) -> None:
        super().__init__(
            "this operation was carried out, once; its answer is kept in a form that this instance's release can't "
            "read: try again, with the same key, and another instance may give it"
        )


class TooManyKeysError(IdempotencyError):
    """The caller has begun as many keys as it may have."""

    code = "idempotency_too_many_keys"
    status = 429
    title = "Too Many Requests"

    def __init__(self, *, max_keys: int, retry_after_s: float) -> None:
        super().__init__(f"no more than {max_keys} idempotency keys may be in use by one caller: try again later")
        self.retry_after_s = retry_after_s


class LeaseLostError(IdempotencyError):
    """This attempt has lost its lease, and its key may be another's by now: nothing was stored."""

    code = "idempotency_lease_lost"
    status = 409
    title = "Conflict"
    retry_after_s = 1

    def __init__(self) -> None:
        super().__init__("another attempt has this Idempotency-Key by now: try again, with the same key")


class RequestTooLargeError(IdempotencyError):
    """The request's body is longer than what is taken with an idempotency key."""

    code = "idempotency_request_too_large"
    status = 413
    title = "Content Too Large"

    def __init__(self, *, max_bytes: int) -> None:
        super().__init__(f"with an Idempotency-Key, a request's body may have {max_bytes} bytes at most")
        self.max_bytes = max_bytes


class ResponseTooLargeError(IdempotencyError):
    """The application's answer is longer than what can be kept for a retry: what it had done is undone."""

    code = "idempotency_response_too_large"
    status = 500
    title = "Internal Server Error"

    def __init__(self, *, max_bytes: int, undone: bool = False) -> None:
        effect = "what it had done was undone" if undone else "the operation itself has been carried out, once"
        super().__init__(
            f"the answer is longer than the {max_bytes} bytes that are kept for retries (max_response_bytes); {effect}"
        )
        self.max_bytes = max_bytes


class ResponseNotKeptError(IdempotencyError):
    """This was carried out before, and what was answered to it is not there: it was too long to be kept, or is lost."""

    code = "idempotency_response_not_kept"
    status = 409
    title = "Conflict"

    def __init__(self) -> None:
        super().__init__(
            "the first request with this Idempotency-Key was carried out and answered, and its answer was not kept, as it "
            "was longer than max_response_bytes or the store has dropped a part of it: do not repeat the operation"
        )


class HandlerFailedError(IdempotencyError):
    """The application failed in the middle of it, and is not run again with the same key."""

    code = "idempotency_handler_failed"
    status = 500
    title = "Internal Server Error"

    def __init__(self, *, undone: bool = False) -> None:
        why = "what it had done was undone" if undone else "part of it may have been done"
        super().__init__(
            "the server failed while it carried out this operation, and does not try again with the same "
            f"Idempotency-Key: {why}"
        )


class FailedBeforeError(IdempotencyError):
    """The function with this key was run before, and raised; `error_type` and `error_text` say what."""

    code = "idempotency_failed_before"
    status = 500
    title = "Internal Server Error"

    def __init__(self, *, error_type: str, error_text: str) -> None:
        super().__init__(f"this was run before under the same key, and raised {error_type}: {error_text}")
        self.error_type = error_type
        self.error_text = error_text


class TransactionError(IdempotencyError):
    """The key's row can't be written as it must be; the message says what was found, and what would do."""

    code = "idempotency_transaction"
    status = 500
    title = "Internal Server Error"
