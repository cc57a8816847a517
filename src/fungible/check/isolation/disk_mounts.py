"""Plans the mounts that give a disk its private view; nothing is changed here.

The operations are those of `launcher_mounts`, which carries them out.
"""

import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Operation = dict[str, Any]

_MOST_MOUNTPOINTS = 64


@dataclass(frozen=True)
class MountPoint:
    """A line of /proc/self/mountinfo."""

    at: Path
    kind: str


@dataclass(frozen=True)
class View:
    """What an instance is to see of the disk; all paths are absolute, without symbolic links.

    `sockets` is where other processes accept connections: through an overlay nobody would be found there.
    """

    working: Path
    private: tuple[Path, ...]
    shared: Mapping[Path, Path | None]
    """What all instances share, and what stands in for it."""
    sockets: tuple[Path, ...] = ()


def mount_points() -> list[MountPoint]:
    """Everything mounted here; empty where there is no /proc."""
    try:
        text = Path("/proc/self/mountinfo").read_text(errors="surrogateescape")
    except OSError:
        return []
    return [_mount_point(line) for line in text.splitlines()]


def _mount_point(line: str) -> MountPoint:
    fields, _, kind = line.partition(" - ")
    at = re.sub(r"\\(\d{3})", lambda match: chr(int(match[1], 8)), fields.split(" ")[4])
    return MountPoint(Path(at), kind.split(" ")[0])


def operations(
    view: View, mounts: Iterable[MountPoint], upper_for: Callable[[Path], tuple[Path, Path] | None]
) -> list[Operation]:
    """The mounts for a view.

    Args:
        mounts: What is mounted on this machine.
        upper_for: Gives a path's upper and work directory, or None where there is no place for them.
    Returns:
        At most one operation a path: what is shared wins over what is private.
    """
    roots = (view.working, *view.private)
    found: dict[Path, Operation] = {}
    # Overlays don't reach into what is mounted below them.
    below = _mounted_below(roots, mounts)
    for path in roots:
        apart = path in below or any(_foreign_between(root, path) for root in roots)
        found[path] = _overlay(path, upper_for(path), must=path == view.working, apart=apart)
    for path in below:
        if path not in found and not _below_any(path, view.shared):
            found[path] = _overlay(path, upper_for(path), apart=True)
    for path in view.sockets:
        # Not those of the application's own folder: it may want to remove what is left there of its last run.
        if not path.is_relative_to(view.working) and not _below_any(path, view.shared):
            found[path] = _bind(path, path, inside=("overlay",))
    for path, stand_in in view.shared.items():
        inside = ("overlay", "hide") if stand_in is None else None
        found[path] = _bind(path, stand_in or path, inside=inside) | {"must": True}
    return list(found.values())


def hiding(folders: Iterable[Path], kept: Iterable[Path]) -> list[Operation]:
    """The mounts that hide `folders` where an overlay would show them, except for `kept` in them."""
    hide: list[Operation] = [{"do": "hide", "at": str(folder)} for folder in folders]
    return hide + [_bind(path, path, inside=("hide",)) for path in kept]


def _overlay(at: Path, upper: tuple[Path, Path] | None, *, must: bool = False, apart: bool) -> Operation:
    # Without a place it fails in the launcher, and is told as any mount that fails.
    place, work = upper or ("", "")
    return {"do": "overlay", "at": str(at), "upper": str(place), "work": str(work), "must": must, "apart": apart}


def _bind(at: Path, source: Path, *, inside: tuple[str, ...] | None) -> Operation:
    limited = {} if inside is None else {"inside": inside}
    return {"do": "bind", "at": str(at), "source": str(source), **limited}


def _foreign_between(root: Path, path: Path) -> bool:
    """Whether a folder from below `root` down to `path` is another user's or group's.

    Before something new is written in there, an overlay of `root` would copy that folder, which the kernel refuses
    in a user namespace that knows one user and one group.
    """
    if path == root or not path.is_relative_to(root):
        return False
    between = [folder for folder in (path, *path.parents) if folder != root and folder.is_relative_to(root)]
    return any(not _is_ours(folder) for folder in between)


def _is_ours(folder: Path) -> bool:
    try:
        status = folder.stat()
    except OSError:
        return True
    return (status.st_uid, status.st_gid) == (os.geteuid(), os.getegid())


def _mounted_below(roots: Iterable[Path], mounts: Iterable[MountPoint]) -> list[Path]:
    """What is mounted strictly below any of `roots`: an overlay of those does not show it."""
    # As text: a machine may have many mounts, and this is done for each disk.
    above = tuple(f"{str(root).rstrip('/')}/" for root in roots)
    below = {mount.at for mount in mounts if str(mount.at).startswith(above)}
    return sorted(below)[:_MOST_MOUNTPOINTS]


def _below_any(path: Path, folders: Iterable[Path]) -> bool:
    return f"{path}/".startswith(tuple(f"{str(folder).rstrip('/')}/" for folder in folders))
