"""Which sockets processes have open, read from Linux's /proc; nothing elsewhere."""

import contextlib
import ipaddress
import os
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_ESTABLISHED, _LISTENING = "01", "0A"
_ACCEPTS = 0x10000
_SOCKET_LINK = re.compile(r"socket:\[(\d+)\]")

Address = tuple[str, int]
VISIBLE = Path("/proc/net/tcp").exists()
"""False where there is no /proc to read: no socket is found then."""


@dataclass(frozen=True)
class TcpSocket:
    """One line of /proc/net/tcp: its inode is how processes refer to it."""

    inode: str
    state: str
    local: Address
    remote: Address


def listening(processes: Iterable[int]) -> list[Address]:
    """The TCP addresses that any of these processes accepts connections at."""
    return sorted({one.local for one in _tcp_sockets_of(processes) if one.state == _LISTENING})


def connections(processes: Iterable[int]) -> list[Address]:
    """Where these processes have connected to over TCP; not what connected to them."""
    sockets = _tcp_sockets_of(processes)
    own_ports = {one.local[1] for one in sockets if one.state == _LISTENING}
    made = [one for one in sockets if one.state == _ESTABLISHED and one.local[1] not in own_ports]
    return sorted({one.remote for one in made if not (_is_here(one.remote[0]) and one.remote[1] in own_ports)})


def listeners(processes: Iterable[int], port: int) -> dict[int, set[str]]:
    """The processes that hold a socket which accepts TCP connections at a port, with the inodes of those sockets."""
    accepting = {one.inode for one in _table() if one.state == _LISTENING and one.local[1] == port}
    found = {process: _socket_inodes(process) & accepting for process in processes} if accepting else {}
    return {process: inodes for process, inodes in found.items() if inodes}


def accepted_by(processes: Iterable[int], port: int, remote_port: int) -> list[int]:
    """The processes that hold the server's end of a connection; none while it waits to be accepted."""
    ends = {one.inode for one in _table() if one.local[1] == port and one.remote[1] == remote_port}
    ends.discard("0")
    return [process for process in processes if ends & _socket_inodes(process)] if ends else []


def listening_unix_sockets() -> list[Path]:
    """The paths at which any process of this machine accepts connections, as far as we can see them."""
    try:
        lines = Path("/proc/net/unix").read_text(errors="surrogateescape").splitlines()[1:]
    except OSError:
        return []
    rows = [line.split(maxsplit=7) for line in lines]
    paths = {row[7] for row in rows if len(row) == 8 and int(row[3], 16) & _ACCEPTS and row[7].startswith("/")}
    return [Path(path) for path in sorted(paths) if _is_socket(path)]


def _is_socket(path: str) -> bool:
    try:
        return Path(path).is_socket()
    except OSError:
        return False


def _is_here(host: str) -> bool:
    return ipaddress.ip_address(host).is_loopback


def _tcp_sockets_of(processes: Iterable[int]) -> list[TcpSocket]:
    inodes = {inode for process in processes for inode in _socket_inodes(process)}
    if not inodes:
        return []
    return [one for one in _table() if one.inode in inodes]


def _table() -> list[TcpSocket]:
    """The TCP sockets of this machine."""
    found: list[TcpSocket] = []
    for name in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            found += tcp_table(Path(f"/proc/net/{name}").read_text())
    return found


def _socket_inodes(process: int) -> set[str]:
    """The inodes of the sockets that a process has open; none where it has ended or is not ours to look at."""
    folder = f"/proc/{process}/fd"
    links: list[str] = []
    try:
        for descriptor in os.listdir(folder):
            with contextlib.suppress(FileNotFoundError):
                links.append(os.readlink(f"{folder}/{descriptor}"))
    except OSError:
        return set()
    return {match[1] for match in map(_SOCKET_LINK.fullmatch, links) if match}


def tcp_table(text: str) -> list[TcpSocket]:
    """The sockets in the text of /proc/net/tcp or tcp6.

    >>> line = "0: 0100007F:1F90 00000000:0000 0A 0:0 0:0 0 0 0 4711 1"
    >>> tcp_table("header" + chr(10) + line)[0].local
    ('127.0.0.1', 8080)
    """
    rows = [line.split() for line in text.splitlines()[1:]]
    return [TcpSocket(row[9], row[3], _address(row[1]), _address(row[2])) for row in rows if len(row) > 9]


def _address(text: str) -> Address:
    """`0100007F:1F90` is 127.0.0.1 port 8080: words of 32 bits, each in the byte order of the machine."""
    words, port = text.split(":")
    raw = b"".join(int(words[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(words), 8))
    host = ipaddress.ip_address(raw)
    mapped = host.ipv4_mapped if isinstance(host, ipaddress.IPv6Address) else None
    return str(mapped or host), int(port, 16)
