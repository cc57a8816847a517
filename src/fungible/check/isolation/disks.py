"""How instances are kept apart on this machine: what is possible, and the disks to do it with."""

import os
import secrets
import shlex
import sys
import tempfile
from collections.abc import Iterable
from contextlib import closing, suppress
from pathlib import Path

from fungible.check.errors import StartError
from fungible.check.isolation.disk import HUNG, TEMPORARY, Disk, Isolation, Layout, Written
from fungible.check.isolation.disk_environment import real_home
from fungible.check.isolation.disk_launcher import Launchers
from fungible.check.isolation.disk_process import Process
from fungible.check.stopping import Endings

__all__ = ["HUNG", "Disk", "Isolation", "Launchers", "Layout", "Process", "Written", "probe"]

_DRAW = "import os; print(os.urandom(16).hex())"
_PROBE_S = 20.0
_QUICKLY_COPIED_BYTES = 1 << 20
_FORBIDDING = {
    "kernel.apparmor_restrict_unprivileged_userns": "1",
    "kernel.unprivileged_userns_clone": "0",
    "user.max_user_namespaces": "0",
}
"""Settings of the kernel that keep ordinary users from making namespaces."""


def probe(layout: Layout, launchers: Launchers, endings: Endings, *, copies: bool = False) -> Isolation:
    """Finds out how far instances can be kept apart here, by trying.

    Args:
        layout: What the instances are to see.
        launchers: Makes the launchers of the disks that are tried.
        endings: Gets what ends an attempt.
        copies: Only copies are wanted (level 0), whatever else is possible.

    Raises:
        CheckError: The layout names what is not there.
    """
    with tempfile.TemporaryDirectory(prefix="fungible-", ignore_cleanup_errors=True) as folder:
        reason = "asked for" if copies else _not_in_place(layout)
        # A fresh /proc, which a PID namespace needs, is not to be had in most containers.
        for pid_namespace in (True, False) if reason is None else ():
            try:
                return _in_place(layout, Path(folder), launchers, endings, pid_namespace=pid_namespace)
            except StartError as error:
                reason = f"{error}{_hint()}"
        return _by_copies(layout, Path(folder), launchers, endings, reason or "")


def _not_in_place(layout: Layout) -> str | None:
    """Why private mounts need not be tried; None where they may be possible."""
    if sys.platform != "linux":
        return "private mounts need Linux"
    if os.geteuid() == 0:
        return None
    # In a user namespace with one user and one group, a file of another group can't be copied before it is changed.
    alien = next((entry for entry in _top_level(layout.working) if _is_alien(entry)), None)
    return alien and f"{alien} belongs to a group other than your first, so a private copy could not keep it"


def _top_level(folder: Path) -> list[Path]:
    with suppress(OSError):
        return sorted(folder.iterdir())
    return []


def _writable_files(folder: Path) -> list[Path]:
    """The files in a folder that may be written to and are quickly copied."""
    with suppress(OSError):
        return [
            path
            for path in _top_level(folder)
            if path.is_file() and path.stat().st_size < _QUICKLY_COPIED_BYTES and os.access(path, os.W_OK)
        ]
    return []


def _is_alien(path: Path) -> bool:
    status = path.lstat()
    return status.st_uid == os.geteuid() and status.st_gid != os.getegid()


def _in_place(
    layout: Layout, folder: Path, launchers: Launchers, endings: Endings, *, pid_namespace: bool
) -> Isolation:
    """Level 1.

    Raises:
        StartError: It is not possible here.
    """
    attempt = Isolation(level=1, why="", common_randomness=False, pid_namespace=pid_namespace)
    with closing(Disk(layout, attempt, folder / "attempt", launchers)) as disk:
        endings.add(disk.close)
        _try_writing(disk, layout)
        return Isolation(
            level=1,
            why=_what_is_used(disk, pid_namespace=pid_namespace),
            common_randomness=_can_draw_alike(disk, folder),
            pid_namespace=pid_namespace,
        )


def _try_writing(disk: Disk, layout: Layout) -> None:
    """Makes sure that the working directory can be written to, and that it does not reach the real one."""
    working = layout.working.resolve()
    name = f".fungible-{secrets.token_hex(8)}"
    # Opening an old file to write to it makes the kernel copy it, which may fail where a new file does not.
    opened = [f": > {name}", *(f": >> {shlex.quote(str(file))}" for file in _writable_files(working)[:1])]
    status, output = disk.run(" && ".join(opened), os.environ, timeout_s=_PROBE_S)
    if status and os.access(working, os.W_OK):
        raise StartError(f"an overlay of {working} can't be written to: {output.strip()}")
    if any(working.is_relative_to((working / path).resolve()) for path in layout.shared):
        (working / name).unlink(missing_ok=True)
    elif (working / name).exists():
        (working / name).unlink()
        raise StartError(f"what is written in {working} shows on the real disk")


def _what_is_used(disk: Disk, *, pid_namespace: bool) -> str:
    spaces = [*(["user"] if disk.as_user else []), "mount", *(["PID"] if pid_namespace else [])]
    words = (
        f"each instance has its own view of the disk, by overlays of {_listed(map(str, disk.overlaid))} "
        f"({_listed(spaces)} namespace{'s' * (len(spaces) > 1)})"
    )
    return "; ".join([words, *_what_is_not(disk)])


def _what_is_not(disk: Disk) -> list[str]:
    """What could not be done in place, and what is done instead."""
    instead = {real_home(): "HOME is a folder of its own", TEMPORARY.resolve(): "TMPDIR is a folder of its own"}
    return [
        f"{instead.get(Path(path), f'{path} is common to all instances')}, as {path} can't be overlaid ({reason})"
        for path, reason in sorted(disk.failed.items())
    ]


def _by_copies(layout: Layout, folder: Path, launchers: Launchers, endings: Endings, reason: str) -> Isolation:
    """Level 0."""
    (folder / "empty").mkdir()
    alike = False
    if sys.platform == "linux":
        attempt = Isolation(level=0, why="", common_randomness=False)
        with closing(Disk(Layout(folder / "empty"), attempt, folder / "copy", launchers)) as disk:
            endings.add(disk.close)
            alike = _can_draw_alike(disk, folder)
    words = f"each instance runs in a copy of {layout.working}, with a HOME and TMPDIR of its own; other paths are common to all"
    return Isolation(level=0, why=f"{words} ({reason})", common_randomness=alike)


def _can_draw_alike(disk: Disk, folder: Path) -> bool:
    """Whether two processes can be made to draw the same random bytes."""
    drawn: set[str] = set()
    for attempt in ("first", "second"):
        log = folder / f"{attempt}.log"
        try:
            process = disk.start(f"exec '{sys.executable}' -I -S -c '{_DRAW}'", os.environ, log, common_randomness=True)
        except StartError:
            return False
        status = process.wait(_PROBE_S)
        process.kill()
        if status != 0:
            return False
        drawn.add(process.log_tail())
    return len(drawn) == 1


def _hint() -> str:
    """What keeps ordinary users from private mounts, where that is known."""
    for name, value in _FORBIDDING.items():
        with suppress(OSError):
            if Path("/proc/sys", *name.split(".")).read_text().strip() == value:
                return f"; the kernel's setting {name}={value} forbids it to ordinary users"
    return ""


def _listed(names: Iterable[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last
