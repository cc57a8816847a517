"""Messages with file descriptors over a stream socket: how the checker and its launchers talk.

Both sides import this file, the launcher without the package around it: it imports the standard library only, and
little of that, since a launcher is forked for every disk.
"""

from __future__ import annotations

import marshal
import os
import sys
from _socket import CMSG_SPACE, SCM_RIGHTS, SOL_SOCKET

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Sequence
    from typing import Any

    Message = dict[str, Any]
else:
    Message = dict  # typing takes long to import.

MAX_DESCRIPTORS = 4
_FD_BYTES = 4
_LENGTH_BYTES = 4


def send(channel: socket, message: Message, descriptors: Sequence[int] = ()) -> None:
    """Sends one message, and duplicates of `descriptors` with it.

    Raises:
        OSError: The other side has gone, or did not read in time.
    """
    # marshal and not json: the same Python is at both ends, and json with what it imports would be a fifth of the
    # program's start-up.
    body = marshal.dumps(message)
    data = len(body).to_bytes(_LENGTH_BYTES, "big") + body
    rights = b"".join(fd.to_bytes(_FD_BYTES, sys.byteorder) for fd in descriptors)
    sent = channel.sendmsg([data], [(SOL_SOCKET, SCM_RIGHTS, rights)]) if rights else 0
    channel.sendall(data[sent:])


def receive(channel: socket) -> tuple[Message | None, list[int]]:
    """The next message and the descriptors that came with it; None when the other side has gone.

    Raises:
        TimeoutError: The channel has a timeout and it passed.
    """
    descriptors: list[int] = []
    header = _receive_exactly(channel, _LENGTH_BYTES, descriptors)
    if header is None:
        return None, descriptors
    body = _receive_exactly(channel, int.from_bytes(header, "big"), descriptors)
    # Both ends are ours, over a socket that nobody else has.
    return (None if body is None else marshal.loads(body)), descriptors  # noqa: S302


def _receive_exactly(channel: socket, size: int, descriptors: list[int]) -> bytes | None:
    """Reads `size` bytes, adding what descriptors come along; None at the end of the stream."""
    data = b""
    while len(data) < size:
        try:
            part, ancillary, _, _ = channel.recvmsg(size - len(data), CMSG_SPACE(MAX_DESCRIPTORS * _FD_BYTES))
        except ConnectionError:
            return None
        for level, kind, rights in ancillary:
            if level == SOL_SOCKET and kind == SCM_RIGHTS:
                descriptors.extend(_descriptors(rights))
        if not part:
            return None
        data += part
    return data


def _descriptors(rights: bytes) -> list[int]:
    """The descriptors in a control message; none of them is passed on to programs that are started."""
    whole = len(rights) - (len(rights) % _FD_BYTES)
    found = [int.from_bytes(rights[at : at + _FD_BYTES], sys.byteorder) for at in range(0, whole, _FD_BYTES)]
    for fd in found:
        os.set_inheritable(fd, False)
    return found
