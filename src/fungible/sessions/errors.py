"""What can go wrong with a session: one class for each thing a caller does differently."""

from collections.abc import Sequence

from fungible.core.errors import FungibleError


class SessionError(FungibleError):
    """Base of what sessions raise."""

    code = "session"


class SessionConflict(SessionError):
    """Two requests have changed the same values in ways that can't be merged, and the application asked to be told.

    Nothing of this request was written; `places` are the values, such as `cart.note`.
    """

    code = "session_conflict"

    def __init__(self, *, places: Sequence[str]) -> None:
        super().__init__(f"another request changed the same values of the session first: {', '.join(places)}")
        self.places = tuple(places)


class SessionReadOnlyError(SessionError):
    """The session can't be changed here: in a WebSocket, while the store is away, or once the response has begun.

    What was tried was not done. See "Once the response has begun".
    """

    code = "session_read_only"


class SessionTooLargeError(SessionError):
    """The session does not fit into a cookie; the message names the largest values."""

    code = "session_too_large"

    def __init__(self, *, size_bytes: int, max_bytes: int, largest: Sequence[tuple[str, int]]) -> None:
        named = ", ".join(f"{name!r} with {size} bytes" for name, size in largest)
        super().__init__(
            f"the session would need a cookie of {size_bytes} bytes, and browsers keep {max_bytes}; the largest values "
            f"are {named}. Keep them elsewhere, or keep the session in a store"
        )
        self.size_bytes = size_bytes
        self.max_bytes = max_bytes
        self.largest = tuple(largest)
