"""What can go wrong with a store: one class for each thing a caller does differently."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fungible.core.errors import FungibleError

if TYPE_CHECKING:
    from fungible.stores.contract import Record


class StoreError(FungibleError):
    """Base of what stores raise."""

    code = "store"


class StoreUnavailableError(StoreError):
    """The store did not answer in time, or not at all: nothing is known of what it holds. Try again later.

    A write that ends so may have happened or not; every verb may be repeated safely after reading again.
    """

    code = "store_unavailable"

    def __init__(self, *, home: str, reason: str) -> None:
        super().__init__(f"the store {home} is unavailable: {reason}")
        self.home = home
        self.reason = reason


class ConflictError(StoreError):
    """Another writer was first: merge with `current`, or give way."""

    code = "conflict"

    def __init__(self, *, current: Record) -> None:
        super().__init__(f"the record {current.key!r} has changed since it was read")
        self.current = current


class GoneError(StoreError):
    """The record was deleted since it was read, or its key is held by a tombstone: nothing may be written."""

    code = "gone"

    def __init__(self, *, key: str) -> None:
        super().__init__(f"the record {key!r} was deleted")
        self.key = key


class InvalidRecordError(StoreError, ValueError):
    """A key, a field's name, a value or a time breaks the contract's rules."""

    code = "invalid_record"


class RecordTooLargeError(StoreError):
    """The record is larger than the store takes: keep large things elsewhere, and refer to them."""

    code = "record_too_large"

    def __init__(self, *, key: str, size_bytes: int, max_bytes: int) -> None:
        super().__init__(f"the record {key!r} would have {size_bytes} bytes; this store takes {max_bytes}")
        self.size_bytes = size_bytes
        self.max_bytes = max_bytes


class NotMigratedError(StoreError):
    """The database lacks the tables of this release, or has those of a later one."""

    code = "not_migrated"

    def __init__(self, *, home: str, found: int, wanted: int) -> None:
        way_out = (
            "run `fungible storage migrate URL` once, or open the store with ?migrate=auto"
            if found < wanted
            else "a newer release has made them: use that one here, too"
        )
        super().__init__(f"the tables at {home} are at version {found}, and this release needs {wanted}: {way_out}")
        self.found = found
        self.wanted = wanted
