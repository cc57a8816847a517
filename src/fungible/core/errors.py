"""Errors raised on purpose: one class for each thing a caller does differently."""

from typing import ClassVar


class FungibleError(Exception):
    """Base of every error raised on purpose. `code` is stable: logs and clients rely on it."""

    code: ClassVar[str] = "fungible"


class SettingError(FungibleError, ValueError):
    """A setting can't be taken as it is; the message says what was found and what would do."""

    code = "setting"


class MissingExtraError(FungibleError, ImportError):
    """A library is not installed that this needs; the message says which extra brings it."""

    code = "missing_extra"

    def __init__(self, *, needed_by: str, extra: str, module: str) -> None:
        super().__init__(
            f"{needed_by} needs the module {module!r}, which is not installed: pip install 'fungible[{extra}]'"
        )
        self.extra = extra
