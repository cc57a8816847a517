"""Runs a command and tells what it cost: wall time, and CPU time by who used it.

A check is a process that starts helpers (launcher.py, one or more a disk), which start the application. CPU time of
the process itself and of all below it is exact, from the kernel's books at its end. What of the latter belongs to the
helpers is sampled every tenth of a second, so up to that long of each helper's end is missed and counted as the
application's. Linux only: elsewhere there is the wall time alone.
"""

import os
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_SAMPLE_S = 0.1
_HELPER = b"/launcher.py"
_LINUX = Path("/proc/self/schedstat").exists()


@dataclass(frozen=True)
class Cost:
    """Of one command. CPU times are None where they can't be had.

    `busy_elsewhere` is what processes of others used meanwhile, in cores: 0 on a quiet machine.
    """

    status: int
    wall_s: float
    own_cpu_s: float | None = None
    helpers_cpu_s: float | None = None
    application_cpu_s: float | None = None
    busy_elsewhere: float | None = None


def run(command: Sequence[str]) -> Cost:
    """Runs a command to its end; what it prints goes nowhere but for its errors."""
    busy, began = _busy_s(), time.monotonic()
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    if not _LINUX:
        return Cost(process.wait(), time.monotonic() - began)
    helpers = _Helpers(process.pid)
    # Ended, but not waited for: the kernel still has its books.
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    wall_s = time.monotonic() - began
    own_s, below_s = _times(process.pid)
    helpers_s = helpers.stop()
    elsewhere = max(0.0, _busy_s() - busy - own_s - below_s) / wall_s
    return Cost(process.wait(), wall_s, own_s, helpers_s, max(0.0, below_s - helpers_s), elsewhere)


class _Helpers:
    """Watches the helpers below a process in a thread of its own."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._seen: dict[int, float] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def stop(self) -> float:
        """Their CPU time in seconds."""
        self._ended.set()
        self._thread.join()
        return sum(self._seen.values())

    def _watch(self) -> None:
        while not self._ended.wait(_SAMPLE_S):
            for process in _below(self._root):
                try:
                    # Until it becomes the application, which then has another command line.
                    if _HELPER in Path(f"/proc/{process}/cmdline").read_bytes():
                        self._seen[process] = int(Path(f"/proc/{process}/schedstat").read_text().split()[0]) / 1e9
                except OSError:
                    continue


def _below(process: int) -> Iterator[int]:
    """All that descend from a process."""
    waiting = [process]
    while waiting:
        try:
            for thread in Path(f"/proc/{waiting.pop()}/task").iterdir():
                children = [int(child) for child in (thread / "children").read_text().split()]
                waiting += children
                yield from children
        except OSError:
            continue


def _times(process: int) -> tuple[float, float]:
    """CPU seconds of a process itself, and of all below it that has ended."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    own, below = (sum(map(int, fields[at : at + 2])) for at in (11, 13))
    return own / os.sysconf("SC_CLK_TCK"), below / os.sysconf("SC_CLK_TCK")


def _busy_s() -> float:
    """CPU seconds that this machine has spent working since it was booted."""
    if not _LINUX:
        return 0.0
    user, nice, system, _idle, _wait, irq, softirq = map(int, Path("/proc/stat").read_text().split()[1:8])
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")
