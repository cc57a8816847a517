"""One effect for many retries."""

from fungible.idempotency.attempts import Attempt, attempt_of
from fungible.idempotency.errors import (
    AnswerUnreadableError,
    FailedBeforeError,
    HandlerFailedError,
    IdempotencyError,
    InvalidKeyError,
    KeyReusedError,
    LeaseLostError,
    MissingKeyError,
    OutcomeUnknownError,
    RequestTooLargeError,
    ResponseNotKeptError,
    ResponseTooLargeError,
    TooManyKeysError,
    TransactionError,
    Unfinished,
    UnknownCallerError,
)
from fungible.idempotency.functions import idempotent
from fungible.idempotency.keys import IdempotencyKeys
from fungible.idempotency.middleware import IdempotencyMiddleware
from fungible.idempotency.options import Options
from fungible.idempotency.responses import StoredResponse, answer_refusal
from fungible.idempotency.sql.statements import create_table_sql
from fungible.idempotency.sql.transactions import Transaction
from fungible.idempotency.transactional import TransactionalIdempotency

__all__ = [
    "AnswerUnreadableError",
    "Attempt",
    "FailedBeforeError",
    "HandlerFailedError",
    "IdempotencyError",
    "IdempotencyKeys",
    "IdempotencyMiddleware",
    "InvalidKeyError",
    "KeyReusedError",
    "LeaseLostError",
    "MissingKeyError",
    "Options",
    "OutcomeUnknownError",
    "RequestTooLargeError",
    "ResponseNotKeptError",
    "ResponseTooLargeError",
    "StoredResponse",
    "TooManyKeysError",
    "Transaction",
    "TransactionError",
    "TransactionalIdempotency",
    "Unfinished",
    "UnknownCallerError",
    "answer_refusal",
    "attempt_of",
    "create_table_sql",
    "idempotent",
]
