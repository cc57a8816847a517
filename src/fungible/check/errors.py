"""What can make a check impossible; every message says what was found and what would fix it."""

from typing import ClassVar

from fungible.core.errors import FungibleError


class CheckError(FungibleError):
    """The check can't be done as asked: the caller exits with status 2 and shows the message."""

    code: ClassVar[str] = "check"


class CheckFileError(CheckError):
    """A check file, recording or API description can't be understood."""

    code: ClassVar[str] = "check_file"


class StartError(CheckError):
    """An instance did not start, or never got ready; the message ends with the end of its log."""

    code: ClassVar[str] = "start"


class UnjudgedError(CheckError):
    """The application's own baseline gives no ground to judge from."""

    code: ClassVar[str] = "unjudged"
