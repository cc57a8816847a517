"""One private view of the disk, with the instances that run on it.

At level 1 (Linux) an instance sees all paths as they are, and what it writes below the working directory, HOME, /tmp
and /var/tmp goes to folders of its own. At level 0 (everywhere) it runs in a copy of the working directory, with a
HOME and TMPDIR of its own. Either way what it wrote can be listed, and wiped.
"""

import contextlib
import os
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from fungible.check.errors import CheckError, StartError
from fungible.check.isolation.disk_copy import Mark, copy_tree, look
from fungible.check.isolation.disk_environment import make_home, private_variables, real_home
from fungible.check.isolation.disk_launcher import Launcher, Launchers
from fungible.check.isolation.disk_mounts import Operation, View, hiding, mount_points, operations
from fungible.check.isolation.disk_process import Process, tail
from fungible.check.isolation.disk_sockets import listening_unix_sockets
from fungible.check.isolation.disk_uppers import Uppers
from fungible.check.isolation.launcher_channel import Message
from fungible.check.isolation.launcher_files import remove_directory

HUNG = 124
"""The status of a command that was killed because it took too long."""

TEMPORARY = Path("/tmp")  # noqa: S108
LASTING = Path("/var/tmp")  # noqa: S108
_MAX_WRITTEN = 5_000
_OUTPUT_BYTES = 8 * 1024
_SYNTAX = frozenset(";|&()<>\n`{}!")
_NOT_PROGRAMS = frozenset(
    ". : alias break case cd command continue eval exec exit export for if local read readonly return set shift "
    "source time times trap type ulimit umask unalias unset until wait while [[ function select declare".split()
)


@dataclass(frozen=True)
class Layout:
    """Which paths matter: where commands run, what all instances share, what else is each instance's own."""

    working: Path
    shared: tuple[Path, ...] = ()
    private: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Isolation:
    """How far instances can be kept apart on this machine; `why` says in words what is used, and what is not."""

    level: int
    why: str
    common_randomness: bool
    pid_namespace: bool = True


@dataclass(frozen=True)
class Written:
    """A file that was created or changed: where the application sees it, and where it can be read."""

    path: Path
    host: Path
    size: int


class Disk:
    """One private view of the disk. Methods may be called from several threads.

    Args:
        base: Folder on the real disk for the files of this disk; best outside of the working directory.
        launchers: Makes its launcher; to be closed after it.
        shared_at: What stands in for a shared path, by that path: a folder or file on the real disk. Level 1 only.
        wanted: Asked again and again while it is made.
    Raises:
        CheckError: The layout names what is not there, or what is too big to be copied.
        StartError: The view can't be made, or is no longer wanted.
    """

    def __init__(
        self,
        layout: Layout,
        isolation: Isolation,
        base: Path,
        launchers: Launchers,
        *,
        shared_at: Mapping[Path, Path] | None = None,
        wanted: Callable[[], bool] = lambda: True,
    ) -> None:
        self.directory = layout.working
        self._wanted = wanted
        self._lock = threading.Lock()
        self._base = base.resolve()
        self._own = self._base / "disk"
        self._scratch = [self._own]
        self._trees = [(self._own / name, self._own / name) for name in ("home", "tmp")]
        self._processes: list[Process] = []
        self._launcher: Launcher | None = None
        try:
            self._make_folders()
            plan = self._plan(layout, isolation, shared_at or {})
            self._launcher = Launcher(launchers, plan, self._own / "launcher.log")
            self.mark()
        except BaseException:
            self.close()
            raise

    def run(self, command: str, env: Mapping[str, str], *, timeout_s: float) -> tuple[int, str]:
        """Runs a shell command to its end.

        Returns:
            Its exit status (`HUNG` if it was killed after `timeout_s`, negative for a signal) and the end of what
            it printed.
        """
        descriptor, name = tempfile.mkstemp(dir=self._own, prefix="run-", suffix=".log")
        os.close(descriptor)
        process = self.start(command, env, Path(name))
        status = process.wait(timeout_s)
        if status is None:
            process.kill()
        # What it left running in the background may be meant to; it lives as long as the disk.
        process.release()
        return HUNG if status is None else status, tail(Path(name), _OUTPUT_BYTES)

    def start(self, command: str, env: Mapping[str, str], log: Path, *, common_randomness: bool = False) -> Process:
        """Starts an instance; what it prints is added to `log`.

        Raises:
            StartError: It could not be started.
        """
        if self._launcher is None:
            raise StartError("this disk has been wiped: an instance needs a new one")
        process = self._launcher.start(directly(command), env, self.directory, log, common_randomness=common_randomness)
        with self._lock:
            # Kept, as an instance dies when the last reference to its channel goes.
            self._processes.append(process)
        return process

    def environment(self, extra: Mapping[str, str], port: int) -> dict[str, str]:
        """The variables for a command: the checker's own, those that keep it to this disk, then `extra`."""
        variables = private_variables(
            os.environ,
            directory=self.directory,
            home=None if self.covers(real_home()) else self._own / "home",
            temporary=TEMPORARY if self.covers(TEMPORARY.resolve()) else self._own / "tmp",
        )
        return variables | {"PORT": str(port)} | dict(extra)

    def covers(self, path: Path) -> bool:
        """Whether writes to a real path stay on this disk, in place."""
        return any(path.is_relative_to(overlaid) for overlaid in self.overlaid)

    @property
    def overlaid(self) -> tuple[Path, ...]:
        """The paths that are private in place; none at level 0."""
        return self._launcher.overlaid if self._launcher else ()

    @property
    def as_user(self) -> bool:
        """Whether its mounts are those of an ordinary user, in a user namespace."""
        return self._launcher is not None and self._launcher.as_user

    @property
    def failed(self) -> dict[str, str]:
        """Why paths that should be private in place are not, by path."""
        return self._launcher.failed if self._launcher else {}

    def mark(self) -> None:
        """What was written up to now is not evidence."""
        self._mark: Mark = {path: seen for host, _ in self._trees for path, seen in look(host).items()}

    def written(self) -> list[Written]:
        """The files created or changed since the last mark, sorted; without compiled Python."""
        found = [
            Written(at / Path(path).relative_to(host), Path(path), seen[1])
            for host, at in self._trees
            for path, seen in look(host).items()
            if self._mark.get(path) != seen
        ]
        return sorted(found, key=lambda one: one.path)[:_MAX_WRITTEN]

    def close(self) -> None:
        """Kills all that runs on it and deletes its files."""
        with self._lock:
            launcher, self._launcher = self._launcher, None
            processes, self._processes = self._processes, []
        if launcher is not None:
            launcher.close()
        for process in processes:
            process.kill()
        # The launcher has deleted most of it, unless it was killed.
        for folder in self._scratch:
            remove_directory(str(folder))
        with contextlib.suppress(OSError):
            self._base.rmdir()

    def _make_folders(self) -> None:
        self._own.mkdir(mode=0o700, parents=True)
        (self._own / "tmp").mkdir(mode=0o700)
        make_home(self._own / "home")

    def _plan(self, layout: Layout, isolation: Isolation, shared_at: Mapping[Path, Path]) -> Message:
        """What the launcher is to set up; at level 0, the copy is made here."""
        working = _existing_folder(layout.working)
        in_place = isolation.level > 0
        # A copy has links to the real ones, whatever could stand in for them.
        shared = _shared(layout, shared_at if in_place else {})
        mounts = self._mounts(working, layout, shared) if in_place else []
        if not in_place:
            self._copy(working, shared)
        return {
            "private_mounts": in_place,
            "pid_namespace": in_place and isolation.pid_namespace,
            "mounts": mounts,
            "scratch": [str(folder) for folder in self._scratch],
        }

    def _copy(self, working: Path, shared: Mapping[Path, Path | None]) -> None:
        self.directory = self._own / "copy" / (working.name or "root")
        self._trees.append((self.directory, self.directory))
        inside = [path for path in shared if path.is_relative_to(working)]
        copy_tree(working, self.directory, linked=inside, left_out=[self._base], wanted=self._wanted)

    def _mounts(self, working: Path, layout: Layout, shared: Mapping[Path, Path | None]) -> list[Operation]:
        known = mount_points()
        uppers = Uppers(self._own, known)
        self._scratch = uppers.folders
        private = [path.resolve() for path in layout.private]
        roots = {*private, real_home(), TEMPORARY.resolve(), LASTING.resolve()} - {working, Path("/")}
        view = View(working, tuple(sorted(roots)), shared, sockets=tuple(listening_unix_sockets()))
        planned = operations(view, known, uppers.make)
        kept = [host for host, _ in self._trees]
        self._trees += uppers.trees
        # Ours are hidden, unless what the application needs is in there.
        needed = (working, *shared, *private)
        ours = [
            folder
            for folder in (self._base, *uppers.folders[1:])
            if not any(path.is_relative_to(folder) for path in needed)
        ]
        return planned + hiding(ours, kept)


def _existing_folder(path: Path) -> Path:
    if not path.is_dir():
        raise CheckError(f"there is no folder {path}: `directory` must name the one that the application runs in")
    return path.resolve()


def _shared(layout: Layout, shared_at: Mapping[Path, Path]) -> dict[Path, Path | None]:
    """The shared paths and what stands in for them, without symbolic links."""
    stand_ins = {_real(layout, path): place.resolve() for path, place in shared_at.items()}
    shared = {_real(layout, path): stand_ins.get(_real(layout, path)) for path in layout.shared}
    for path, stand_in in shared.items():
        if stand_in is None and not path.exists():
            raise CheckError(f"the shared path {path} does not exist: create it, or name a folder that does")
    return shared


def _real(layout: Layout, path: Path) -> Path:
    return (layout.working / path).resolve()


def directly(command: str) -> str:
    """A shell command such that a single program takes the shell's place, and gets the signals meant for it.

    >>> directly("node server.js")
    'exec node server.js'
    >>> directly("cd app && node server.js")
    'cd app && node server.js'
    """
    first = command.split(maxsplit=1)[0] if command.strip() else ":"
    if _SYNTAX.intersection(command) or "=" in first or first in _NOT_PROGRAMS:
        return command
    return f"exec {command.strip()}"
