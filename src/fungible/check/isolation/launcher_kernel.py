"""The system calls that Python 3.11 has no function for; standard library only, as the launcher needs it."""

from __future__ import annotations

import ctypes
import os
import sys

_CLONE_NEWNS = 0x00020000
_CLONE_NEWUSER = 0x10000000
_CLONE_NEWPID = 0x20000000
_MS_NOSUID, _MS_NODEV, _MS_NOEXEC = 0x2, 0x4, 0x8
_MS_BIND, _MS_REC, _MS_PRIVATE = 0x1000, 0x4000, 0x40000
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_SIGKILL = 9

_libc = ctypes.CDLL(None, use_errno=True)


def checked(result: int, what: str) -> int:
    """`result` of a C function, unless it is negative: then the error in errno.

    Raises:
        OSError: The call failed; its file name is `what`.
    """
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
    return result


def system_call(number: int, *arguments: object) -> int:
    """Any system call by its number."""
    return int(_libc.syscall(number, *arguments))


def prctl(option: int, value: int) -> None:
    """Sets an attribute of this process."""
    zero = ctypes.c_ulong(0)
    checked(int(_libc.prctl(option, ctypes.c_ulong(value), zero, zero, zero)), "prctl")


def mount(source: str, target: str, kind: str, flags: int = 0, options: str = "") -> None:
    """mount(2)."""
    arguments = (os.fsencode(source), os.fsencode(target), kind.encode(), ctypes.c_ulong(flags), options.encode())
    checked(int(_libc.mount(*arguments)), target)


def bind(source: str, target: str) -> None:
    """Shows `source`, with all that is mounted below it, at `target` too."""
    mount(source, target, "", _MS_BIND | _MS_REC)


def mount_proc() -> None:
    """A /proc that knows the processes of this PID namespace."""
    mount("proc", "/proc", "proc", _MS_NOSUID | _MS_NODEV | _MS_NOEXEC)


def mount_empty(target: str) -> None:
    """Hides what is at `target` under an empty directory."""
    mount("tmpfs", target, "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=0755,size=256k")


def leave_shared_mounts(*, pid_namespace: bool) -> bool:
    """Moves this process into a mount namespace of its own, and its future children into a PID namespace.

    Returns:
        True where that took a user namespace, which is what ordinary users need.
    """
    wanted = _CLONE_NEWNS | (_CLONE_NEWPID if pid_namespace else 0)
    as_user = int(_libc.unshare(wanted)) < 0
    if as_user:
        uid, gid = os.geteuid(), os.getegid()
        checked(int(_libc.unshare(wanted | _CLONE_NEWUSER)), "a user namespace of its own")
        # The user stays who he is: programs that look at their own name or home see no difference. The kernel
        # wants setgroups given up before it lets an ordinary user write a map of groups.
        for name, line in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
            _write(f"/proc/self/{name}", line)
    mount("none", "/", "", _MS_REC | _MS_PRIVATE)
    return as_user


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)


def die_with_parent() -> None:
    """This process is killed when its parent dies, where the system can do that."""
    if sys.platform == "linux":
        prctl(_PR_SET_PDEATHSIG, _SIGKILL)


def adopt_orphans() -> None:
    """Descendants of this process that lose their parent become its children, where the system can do that."""
    if sys.platform == "linux":
        prctl(_PR_SET_CHILD_SUBREAPER, 1)
