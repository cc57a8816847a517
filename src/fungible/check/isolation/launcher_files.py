"""Deleting what an application left, whatever it left; standard library only, as the launcher needs it."""

from __future__ import annotations

import contextlib
import os
import stat


def remove_directory(path: str) -> None:
    """Deletes a directory and everything in it; what can't be deleted stays, without an error."""
    with contextlib.suppress(OSError):
        parent = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY)
        try:
            remove_below(parent, os.path.basename(path))
        finally:
            os.close(parent)


def remove_below(parent: int, name: str) -> None:
    """`remove_directory` for a directory in an open one: its path may lead elsewhere by now."""
    with contextlib.suppress(OSError):
        directory = _opened(name, parent)
        try:
            for entry in list(os.scandir(directory)):
                if entry.is_dir(follow_symlinks=False):
                    remove_below(directory, entry.name)
                else:
                    os.unlink(entry.name, dir_fd=directory)
        finally:
            os.close(directory)
        os.rmdir(name, dir_fd=parent)


def _opened(name: str, parent: int) -> int:
    """An open directory that we may list and write to, although applications and overlays take such rights away."""
    mode = stat.S_IMODE(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)
    if mode & stat.S_IRWXU != stat.S_IRWXU:
        os.chmod(name, mode | stat.S_IRWXU, dir_fd=parent)
    return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=parent)
