"""Who descends from whom among the processes of this machine; standard library only, as the launcher needs it."""

from __future__ import annotations

import os

_SHELLS = frozenset({"sh", "dash", "bash", "ash", "ksh", "zsh", "busybox"})
_DEEPEST_SHELL = 5
_MOST_READS = 10


def descendants(process: int) -> list[int]:
    """All that descend from a process, parents first; what has ended but was not waited for is among them."""
    if not os.path.exists("/proc/self/stat"):
        return _below(process, _children_by_ps())
    found: list[int] = []
    waiting = [process]
    while waiting:
        children = _children(waiting.pop())
        found += children
        waiting += children
    return found


def server_of(process: int) -> int:
    """The process that signals are meant for: below shells that do nothing but wait for their only child."""
    for _ in range(_DEEPEST_SHELL):
        children = _children(process) if _name(process) in _SHELLS else []
        if len(children) != 1:
            break
        process = children[0]
    return process


def state(process: int) -> str:
    """One letter as in `ps`: `Z` for what ended and was not waited for; empty for what is not there."""
    return _stat(process)[0]


def _children(process: int) -> list[int]:
    """The children of a process on Linux.

    The kernel's list may lack one while another ends: it counts once it reads the same twice.
    """
    found = _children_at_once(process)
    for _ in range(_MOST_READS):
        before, found = found, _children_at_once(process)
        if before == found:
            break
    return found


def _children_at_once(process: int) -> list[int]:
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{process}/task"):
            with open(f"/proc/{process}/task/{thread}/children", "rb") as children:
                found += [int(child) for child in children.read().split()]
    except FileNotFoundError:
        # Ended meanwhile; or a kernel built without that file.
        if os.path.exists(f"/proc/{process}") and not os.path.exists(f"/proc/{process}/task/{process}/children"):
            return [int(p) for p in os.listdir("/proc") if p.isdigit() and _stat(int(p))[1] == process]
    except OSError:
        pass
    return found


def _stat(process: int) -> tuple[str, int]:
    """State and parent of a process on Linux; `("", 0)` for what is not there."""
    try:
        with open(f"/proc/{process}/stat", "rb") as stat:
            # The name, in parentheses, may hold anything.
            letter, parent = stat.read().rpartition(b")")[2].split()[:2]
    except (OSError, ValueError):
        return "", 0
    return letter.decode(), int(parent)


def _name(process: int) -> str:
    try:
        with open(f"/proc/{process}/comm", encoding="utf-8", errors="replace") as name:
            return name.read().strip()
    except OSError:
        return ""


def _children_by_ps() -> dict[int, list[int]]:
    """The children of every process, for systems without /proc."""
    import subprocess  # Takes long to import, and is not needed where there is a /proc.

    listed = subprocess.run(["/bin/ps", "-axo", "pid=,ppid="], capture_output=True, text=True, check=False)
    rows = [tuple(map(int, line.split())) for line in listed.stdout.splitlines()]
    children: dict[int, list[int]] = {}
    for process, parent in rows:
        children.setdefault(parent, []).append(process)
    return children


def _below(process: int, children: dict[int, list[int]]) -> list[int]:
    found: list[int] = []
    waiting = [process]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found
