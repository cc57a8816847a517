"""Deleting what an application left, whatever it left; standard library only, as the launcher needs it."""

from __future__ import annotations

import os
import stat


def empty_directory(directory: int) -> None:
    """Deletes everything in an open directory; what can't be deleted stays, without an error."""
    try:
        entries = list(os.scandir(directory))
    except OSError:
        return
    for entry in entries:
        _remove(directory, entry.name, is_directory=entry.is_dir(follow_symlinks=False))


def remove_directory(path: str) -> None:
    """Deletes a directory and everything in it; what can't be deleted stays, without an error."""
    try:
        directory = _opened(path, None)
    except OSError:
        return
    try:
        empty_directory(directory)
    finally:
        os.close(directory)
    try:
        os.rmdir(path)
    except OSError:
        return


def _remove(parent: int, name: str, *, is_directory: bool) -> None:
    try:
        if not is_directory:
            os.unlink(name, dir_fd=parent)
            return
        directory = _opened(name, parent)
        try:
            empty_directory(directory)
        finally:
            os.close(directory)
        os.rmdir(name, dir_fd=parent)
    except OSError:
        return


def _opened(name: str, parent: int | None) -> int:
    """An open directory that we may list and write to, although applications and overlays take such rights away."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
    mode = stat.S_IMODE(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode)
    if mode & stat.S_IRWXU != stat.S_IRWXU:
        os.chmod(name, mode | stat.S_IRWXU, dir_fd=parent)
    return os.open(name, flags, dir_fd=parent)
