"""The folders that take what instances write below overlaid paths: the kernel calls them upper directories."""

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterable
from pathlib import Path

from fungible.check.isolation.disk_environment import real_home
from fungible.check.isolation.disk_mounts import MountPoint

_NOT_ABOVE = (
    "overlay",
    "aufs",
    "nfs",
    "cifs",
    "smb",
    "9p",
    "virtiofs",
    "vfat",
    "exfat",
    "ntfs",
    "fuse",
    "zfs",
    "ecryptfs",
)
"""File systems (by the start of their names) that an overlay can't write to."""


class Uppers:
    """Makes upper directories for one disk: in `own` where possible, else in further folders.

    `folders` are `own` and those others, `trees` what was made: where it is, and the path that it lies over.
    """

    def __init__(self, own: Path, mounts: Iterable[MountPoint]) -> None:
        self.folders = [own]
        self.trees: list[tuple[Path, Path]] = []
        self._mounts = list(mounts)

    def make(self, root: Path) -> tuple[Path, Path] | None:
        """An upper and a work directory for a path; None where there is no place for them, or no such path."""
        with contextlib.suppress(OSError):
            like = root.stat()
            if (folder := self._folder(root)) is not None:
                return self._make_in(folder, root, like)
        return None

    def _make_in(self, folder: Path, root: Path, like: os.stat_result) -> tuple[Path, Path]:
        number = len(self.trees)
        upper, work = folder / f"upper-{number}", folder / f"work-{number}"
        work.mkdir()
        upper.mkdir()
        # The top of an overlay looks like its upper directory: /tmp is to stay open to all users.
        with contextlib.suppress(OSError):
            os.chown(upper, like.st_uid, like.st_gid)
        upper.chmod(stat.S_IMODE(like.st_mode))
        self.trees.append((upper, root))
        return upper, work

    def _folder(self, root: Path) -> Path | None:
        """A folder of ours for the upper directory of `root`."""
        if (found := upper_place(root, self.folders, self._mounts)) is not None:
            return found
        for candidate in _candidates():
            if upper_place(root, [candidate], self._mounts) is not None:
                with contextlib.suppress(OSError):
                    self.folders.append(Path(tempfile.mkdtemp(prefix="fungible-", dir=candidate)))
                    return self.folders[-1]
        return None


def _candidates() -> list[Path]:
    named = (Path("/var/tmp"), Path(tempfile.gettempdir()), real_home() / ".cache", Path("/dev/shm"))  # noqa: S108
    return [path.resolve() for path in named if path.is_dir() and os.access(path, os.W_OK)]


def upper_place(root: Path, candidates: Iterable[Path], mounts: Iterable[MountPoint]) -> Path | None:
    """The first of `candidates` that can take what is written below `root`; None where none can.

    The kernel wants it outside of what is overlaid, and on a file system with enough features.
    """
    known = list(mounts)
    for candidate in candidates:
        kind = _kind_of(candidate, known)
        if not candidate.is_relative_to(root) and not kind.startswith(_NOT_ABOVE):
            return candidate
    return None


def _kind_of(path: Path, mounts: list[MountPoint]) -> str:
    """The file system that a path is on: that of the deepest mount point above, the latest where several are."""
    # As text: every mount of the machine is looked at, for each disk.
    inside = f"{path}/"
    above = [mount for mount in mounts if inside.startswith(f"{str(mount.at).rstrip('/')}/")]
    return max(reversed(above), key=lambda mount: len(mount.at.parts)).kind if above else ""
