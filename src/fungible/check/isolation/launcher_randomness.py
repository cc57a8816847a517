"""Common randomness: instances that draw the same bytes while they start, and their own once they are ready.

Secrets that an application draws at start (a signing key, a salt) differ on each instance. To find out whether that
is what breaks a flow, two instances are started which draw the same: a seccomp filter hands each `getrandom` of the
application to its parent, who writes bytes into its memory that depend on nothing but the length asked and how many
of that length the process has drawn before. Linux on x86-64 and ARM64.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct
from hashlib import shake_256

TYPE_CHECKING = False
if TYPE_CHECKING or __package__:
    from fungible.check.isolation.launcher_kernel import checked, prctl, system_call
else:
    from launcher_kernel import checked, prctl, system_call

_PR_SET_NO_NEW_PRIVS = 38
_SECCOMP_SET_MODE_FILTER = 1
_NEW_LISTENER = 1 << 3
_WAIT_KILLABLE = 1 << 5
"""Only a deadly signal interrupts a call that is being answered; else it would be asked, and counted, again."""

_RET_ALLOW, _RET_ASK, _RET_ERRNO = 0x7FFF0000, 0x7FC00000, 0x00050000
_LOAD, _AND, _IF_EQUAL, _RETURN = 0x20, 0x54, 0x15, 0x06
_AT_CALL, _AT_ARCHITECTURE, _AT_MMAP_FLAGS = 0, 4, 40
_MAP_TYPE, _MAP_DROPPABLE = 0x0F, 0x08

_NOTIFICATION_BYTES = 80
_RECEIVE, _SEND, _STILL_WAITING = 0xC0502100, 0xC0182101, 0x40082102
_CONTINUE = 1
_LONGEST = 1 << 20

_FOR_NODE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "launcher_randomness.js")
_FLAG_DESCRIPTOR = 198
"""High enough to be in nobody's way; where the flag of `Draws` is in the application."""

_NUMBERS = {
    # machine: (AUDIT_ARCH, seccomp, getrandom, mmap)
    "x86_64": (0xC000003E, 317, 318, 9),
    "aarch64": (0xC00000B7, 277, 278, 222),
}


class _Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def _hand_over_draws() -> int:
    """Lets the reader of the returned descriptor answer each `getrandom` of this process and its descendants.

    Raises:
        OSError: This system can't do that.
    """
    numbers = _NUMBERS.get(os.uname().machine)
    if numbers is None:
        raise OSError(errno.ENOSYS, "common randomness is not known for this machine", os.uname().machine)
    program = _filter(architecture=numbers[0], getrandom=numbers[2], mmap=numbers[3])
    for flags in (_NEW_LISTENER | _WAIT_KILLABLE, _NEW_LISTENER):
        listener = _install(numbers[1], flags, program)
        if listener < 0 and ctypes.get_errno() == errno.EACCES:
            # Without a capability, the kernel wants a promise first that no program run from here gains one.
            _promise_no_new_privileges()
            listener = _install(numbers[1], flags, program)
        if listener >= 0 or ctypes.get_errno() != errno.EINVAL:
            break
    return checked(listener, "seccomp")


def _promise_no_new_privileges() -> None:
    """Gives up set-user-ID programs for this process and its descendants."""
    prctl(_PR_SET_NO_NEW_PRIVS, 1)


def _install(seccomp: int, flags: int, program: bytes) -> int:
    described = _Program(len(program) // 8, program)
    return system_call(seccomp, ctypes.c_uint(_SECCOMP_SET_MODE_FILTER), ctypes.c_uint(flags), ctypes.byref(described))


def _filter(*, architecture: int, getrandom: int, mmap: int) -> bytes:
    """The filter as BPF: asks about `getrandom`, refuses droppable memory, allows all else.

    Newer C libraries and Go draw without a system call, from a generator in memory of that one kind; where they
    don't get it they fall back to the call.
    """
    steps = (
        (_LOAD, 0, 0, _AT_ARCHITECTURE),
        (_IF_EQUAL, 0, 6, architecture),
        (_LOAD, 0, 0, _AT_CALL),
        (_IF_EQUAL, 5, 0, getrandom),
        (_IF_EQUAL, 0, 3, mmap),
        (_LOAD, 0, 0, _AT_MMAP_FLAGS),
        (_AND, 0, 0, _MAP_TYPE),
        (_IF_EQUAL, 2, 0, _MAP_DROPPABLE),
        (_RETURN, 0, 0, _RET_ALLOW),
        (_RETURN, 0, 0, _RET_ASK),
        (_RETURN, 0, 0, _RET_ERRNO | errno.ENOMEM),
    )
    return b"".join(struct.pack("=HBBI", *step) for step in steps)


class Draws:
    """Answers what one application draws, from one listener.

    `flag` is a file that Node.js, with our functions loaded into it, looks at: empty until the instance is ready.
    """

    def __init__(self) -> None:
        self.flag = os.memfd_create("fungible-draws")
        self._common = True
        self._drawn: dict[tuple[int, int], int] = {}

    def settle(self) -> None:
        """From now on draws are not common any more."""
        self._common = False
        os.pwrite(self.flag, b"1", 0)

    def prepare(self, environment: dict[str, str]) -> int:
        """Prepares the process that is to become the application; gives what `answer` needs.

        Raises:
            OSError: This system can't do that.
        """
        os.dup2(self.flag, _FLAG_DESCRIPTOR)
        environment["FUNGIBLE_DRAWS_FD"] = str(_FLAG_DESCRIPTOR)
        # Node.js splits this at spaces, but for what is in quotes.
        required = f'--require="{_FOR_NODE}"'
        environment["NODE_OPTIONS"] = f"{environment.get('NODE_OPTIONS', '')} {required}".strip()
        return _hand_over_draws()

    def answer(self, listener: int) -> None:
        """Answers one waiting call: with common bytes, or by letting the kernel answer."""
        notification = bytearray(_NOTIFICATION_BYTES)
        try:
            fcntl.ioctl(listener, _RECEIVE, notification)
        except OSError:
            return  # The process that asked died meanwhile.
        call, thread = struct.unpack_from("=QI", notification)
        address, length = struct.unpack_from("=QQ", notification, 32)
        written = self._write(listener, call, thread, address, min(length, _LONGEST)) if self._common else None
        response = (call, 0, 0, _CONTINUE) if written is None else (call, written, 0, 0)
        try:
            fcntl.ioctl(listener, _SEND, struct.pack("=QqiI", *response))
        except OSError:
            return

    def _write(self, listener: int, call: int, thread: int, address: int, length: int) -> int | None:
        """Writes the bytes into the memory of the process; None where that can't be done."""
        try:
            memory = os.open(f"/proc/{thread}/mem", os.O_WRONLY)
        except OSError:
            return None
        try:
            process = _process_of(thread)
            # A process ID may have gone to another process before we opened its memory, but not while this holds.
            fcntl.ioctl(listener, _STILL_WAITING, struct.pack("=Q", call))
            return os.pwrite(memory, self._bytes(process, length), address)
        except OSError:
            return None
        finally:
            os.close(memory)

    def _bytes(self, process: int, length: int) -> bytes:
        nth = self._drawn.get((process, length), 0)
        self._drawn[process, length] = nth + 1
        return shake_256(f"{length} {nth}".encode()).digest(length)


def _process_of(thread: int) -> int:
    """The process that a thread belongs to."""
    with open(f"/proc/{thread}/status", "rb") as status:
        return next((int(line.split()[1]) for line in status if line.startswith(b"Tgid:")), thread)
