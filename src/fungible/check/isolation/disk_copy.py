"""Copies a working directory for one instance, and finds out which files of a directory have changed."""

import contextlib
import os
import shutil
import stat
import sys
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path

from fungible.check.errors import CheckError, StartError

MAX_BYTES = 2 << 30
MAX_FILES = 200_000
LINKED = frozenset({".venv", "venv", "node_modules", ".git"})
"""Top-level folders that are shown by a symbolic link: they are big, and not where applications keep data."""

_COMPILED = f"{os.sep}__pycache__{os.sep}"
_FICLONE = 0x40049409

Mark = dict[str, tuple[int, int, int, int]]
"""What the files of a directory looked like: inode, size, time of the last write and of the last change."""


def copy_tree(
    source: Path,
    target: Path,
    *,
    linked: Collection[Path],
    left_out: Collection[Path],
    wanted: Callable[[], bool] = lambda: True,
) -> None:
    """Copies a directory: links stay links, what can't be read is skipped.

    Args:
        linked: Paths below `source` that the copy shows by a symbolic link to the original.
        left_out: Paths below `source` that the copy lacks.
        wanted: Asked again and again: a big copy takes minutes, and a check that is stopped does not wait for it.
    Raises:
        CheckError: It is too big to be copied for each instance.
        StartError: It is no longer wanted.
    """
    linked = {*linked, *(source / name for name in LINKED if (source / name).is_dir())}
    entries = list(_while(wanted, _bounded(source, skipped={*linked, *left_out})))
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    for entry in _while(wanted, entries):
        with contextlib.suppress(OSError):
            _copy_entry(entry, source, target)
    # A link within what is a link already would be made in the original.
    for path in sorted(path for path in linked if linked.isdisjoint(path.parents)):
        place = target / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(path)


def _while(wanted: Callable[[], bool], entries: Iterable[os.DirEntry[str]]) -> Iterator[os.DirEntry[str]]:
    for entry in entries:
        if not wanted():
            raise StartError("no longer wanted")
        yield entry


def _bounded(source: Path, *, skipped: Collection[Path]) -> Iterator[os.DirEntry[str]]:
    size = 0
    for count, entry in enumerate(_walk(source, skipped={str(path) for path in skipped}), 1):
        with contextlib.suppress(OSError):
            size += entry.stat(follow_symlinks=False).st_size if entry.is_file(follow_symlinks=False) else 0
        if size > MAX_BYTES or count > MAX_FILES:
            raise CheckError(
                f"{source} is too big to be copied for each instance (more than {MAX_FILES} files or "
                f"{MAX_BYTES >> 30} GiB): name the folder that the application runs in with `directory`"
            )
        yield entry


def _walk(folder: Path | str, *, skipped: Collection[str]) -> Iterator[os.DirEntry[str]]:
    """Everything below a directory, folders before what they hold."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in entries:
        if entry.path in skipped:
            continue
        yield entry
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(entry.path, skipped=skipped)


def _copy_entry(entry: os.DirEntry[str], source: Path, target: Path) -> None:
    place = target / Path(entry.path).relative_to(source)
    if entry.is_symlink():
        place.symlink_to(_same_link(entry.path, source, target))
    elif entry.is_dir(follow_symlinks=False):
        place.mkdir()
        # We must be able to write what it holds, whatever its own mode says.
        place.chmod(stat.S_IMODE(entry.stat().st_mode) | stat.S_IRWXU)
    elif entry.is_file(follow_symlinks=False):
        _copy_file(Path(entry.path), place)


def _same_link(link: str, source: Path, target: Path) -> str:
    """Where the copy of a link leads: into the copy where the original leads into the source, else where it leads."""
    leads_to = os.readlink(link)
    goal = os.path.normpath(os.path.join(os.path.dirname(link), leads_to))
    inside = goal == str(source) or goal.startswith(f"{source}/")
    if not inside:
        return goal
    return str(target / Path(goal).relative_to(source)) if os.path.isabs(leads_to) else leads_to


def _copy_file(source: Path, place: Path) -> None:
    """Copies a file with its mode and times; shares the blocks where the file system can."""
    if not _cloned(source, place):
        shutil.copyfile(source, place)
    shutil.copystat(source, place)


def _cloned(source: Path, place: Path) -> bool:
    if sys.platform != "linux":
        return False
    import fcntl  # Not there on Windows.

    try:
        with source.open("rb") as original, place.open("wb") as copy:
            fcntl.ioctl(copy.fileno(), _FICLONE, original.fileno())
    except OSError:
        return False
    return True


def look(folder: Path) -> Mark:
    """What the regular files of a directory look like now, by path; compiled Python is left out."""
    found: Mark = {}
    for entry in _walk(folder, skipped=()):
        if not entry.is_file(follow_symlinks=False) or entry.path.endswith(".pyc") or _COMPILED in entry.path:
            continue
        with contextlib.suppress(OSError):
            now = entry.stat(follow_symlinks=False)
            found[entry.path] = (now.st_ino, now.st_size, now.st_mtime_ns, now.st_ctime_ns)
        if len(found) >= MAX_FILES:
            break
    return found
