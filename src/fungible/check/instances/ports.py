"""Ports for instances that start: nobody listens on one, and no other checker on this machine has chosen it."""

import contextlib
import random
import socket
import sys
import threading
from collections.abc import Generator

from fungible.check.errors import CheckError

_PORTS = range(18_000, 32_000)
"""Below the range that outgoing connections are given."""
_TRIES = 4000
# Not `random` itself: where that was seeded alike, two processes would choose alike.
_chance = random.SystemRandom()
_chosen: set[int] = set()
_lock = threading.Lock()


@contextlib.contextmanager
def reserved_port() -> Generator[int]:
    """A port of 127.0.0.1 that was never given before; within the block no other checker is given it either.

    Between the choice of a port and the moment when the instance listens on it lies the start of the application. Another
    one that was given the same port meanwhile would answer in its place.

    Raises:
        CheckError: there is none.
    """
    with contextlib.ExitStack() as held:
        yield _choose(held)


def _choose(held: contextlib.ExitStack) -> int:
    for _ in range(_TRIES):
        port = _chance.choice(_PORTS)
        with _lock:
            if port in _chosen or not _claimed(port, held):
                continue
            if _is_free(port):
                _chosen.add(port)
                return port
            held.close()
    raise CheckError(
        f"found no free port between {_PORTS.start} and {_PORTS.stop - 1}: end what listens there, or wait"
    )


def is_listened_at(port: int) -> bool:
    """True where somebody accepts connections at a port of 127.0.0.1."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def _is_free(port: int) -> bool:
    with socket.socket() as probe, contextlib.suppress(OSError):
        probe.bind(("127.0.0.1", port))
        return True
    return False


def _claimed(port: int, held: contextlib.ExitStack) -> bool:
    """Tells other checkers that a port is ours until `held` is closed; False where it is somebody else's.

    By a name in Linux's abstract namespace, which is gone with its process and takes nothing from the application.
    """
    if sys.platform != "linux":
        return True
    claim = held.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
    try:
        claim.bind(f"\0fungible-port-{port}")
    except OSError:
        held.close()
        return False
    return True
