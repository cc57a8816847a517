"""Errors raised on purpose: one class for each thing a caller does differently."""

from typing import ClassVar


class FungibleError(Exception):
    """Base of every error raised on purpose. `code` is stable: logs and clients rely on it."""

    code: ClassVar[str] = "fungible"
