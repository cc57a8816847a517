"""What was worked out for a cookie, remembered: a visitor sends the same one with all requests of a page."""

from typing import Final, Generic, TypeVar

T = TypeVar("T")
MOST: Final = 1000


class Recent(Generic[T]):
    """The last 1,000 findings, by the cookie's text."""

    def __init__(self) -> None:
        self._found: dict[str, T] = {}
        self.get = self._found.get

    def add(self, text: str, found: T) -> T:
        """Remembers a finding, and forgets the oldest."""
        if len(self._found) >= MOST:
            del self._found[next(iter(self._found))]
        self._found[text] = found
        return found
