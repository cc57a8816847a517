"""What was worked out before, remembered for a while: at most so much of it, and safe to share between threads."""

from collections import OrderedDict
from typing import Final, Generic, TypeVar

T = TypeVar("T")
MOST: Final = 1000


class Recent(Generic[T]):
    """The last findings, each by a text.

    Threads may share one without a lock: each step below is one call into C, which no other thread can come between, and
    none of them minds what another has done since the step before.

    Args:
        most: How many are remembered. Beyond that the oldest are forgotten.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._found: OrderedDict[str, T] = OrderedDict()
        self.get = self._found.get

    def __len__(self) -> int:
        return len(self._found)

    def add(self, text: str, found: T) -> T:
        """Remembers a finding, and forgets the oldest."""
        self._found[text] = found
        while len(self._found) > self._most:
            try:
                # Not `del` of the first key: of two threads that had looked it up, the second would fail.
                self._found.popitem(last=False)
            except KeyError:
                # Others have taken all there was.
                break
        return found

    def forget(self, text: str) -> None:
        """Forgets a finding, if it is there."""
        self._found.pop(text, None)
