"""Places for small state that all instances share, behind one contract."""

from fungible.stores.contract import (
    ABSENT,
    ANY,
    REMOVED,
    Guarantees,
    Lack,
    Page,
    Rate,
    Reach,
    Record,
    Store,
    Survives,
    Taken,
)
from fungible.stores.errors import (
    ConflictError,
    GoneError,
    InvalidRecordError,
    NotMigratedError,
    RecordTooLargeError,
    StoreError,
    StoreUnavailableError,
)
from fungible.stores.memory import MemoryStore
from fungible.stores.opening import open_store

__all__ = [
    "ABSENT",
    "ANY",
    "REMOVED",
    "ConflictError",
    "GoneError",
    "Guarantees",
    "InvalidRecordError",
    "Lack",
    "MemoryStore",
    "NotMigratedError",
    "Page",
    "Rate",
    "Reach",
    "Record",
    "RecordTooLargeError",
    "Store",
    "StoreError",
    "StoreUnavailableError",
    "Survives",
    "Taken",
    "open_store",
]
