"""A ring in a directory: one that all instances share, or that Kubernetes mounts a Secret into."""

from __future__ import annotations

import functools
import json
import logging
import math
import os
import re
import stat
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from fungible.core.errors import SettingError
from fungible.tokens import rotation
from fungible.tokens.key import Key
from fungible.tokens.keys import KeySet, SigningKeys, key_set

log = logging.getLogger("fungible.tokens")

MAX_FILE_BYTES: Final = 1 << 20
LOCK: Final = ".lock"
LOCKED_WITHIN_S: Final = 10.0
"""Whoever changes keys does so in a moment: one who holds the lock for that long has been stopped."""
DRAFT: Final = re.compile(r"\..+\.jwk\.(?:[0-9a-f]{16}\.draft|[0-9]+)")
"""The name of a file that is being written; with a number in earlier releases."""
Found = tuple[int, int, int]
"""Time, size and inode of a file: while they stay, it is not read again."""


class KeyFiles(SigningKeys):
    """Keys in the files of a directory, read again while the application runs.

    A file holds one JWK, a JWK set, or a PEM. A JWK says by `nbf` when its key begins to sign and by `exp` when it
    ends to verify; `fungible keys` writes such files. A key that says nothing signs `settle_s` seconds after its file
    has arrived here: by then every instance has it, also where a mounted Secret reaches some nodes a minute later than
    others. Files whose names begin with a dot are passed over, as Kubernetes writes them.

    Args:
        path: The directory.
        reload_s: The directory is looked at again when that many seconds have passed and the ring is used.
        settle_s: Seconds from a new key's arrival to its first signature: longer than it takes to reach every instance.
        longest_life_s: Seconds that the longest token lives: so long a replaced key goes on to verify.
    Raises:
        SettingError: the directory or a file in it can't be read, or it holds no key. Later that is logged, and the
            keys that were read before stay, of this file alone.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        reload_s: float = 5.0,
        settle_s: float = 300.0,
        longest_life_s: float = 3600.0,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.path = Path(path)
        self.settle_s = settle_s
        self.longest_life_s = longest_life_s
        self._reload_s = reload_s
        self._files: dict[str, tuple[Found, tuple[Key, ...]]] = {}
        self._arrived: dict[str, float] = {}
        self._read(first=True, now=now())
        super().__init__(self._all, now=now)
        self._look(now())

    @property
    def home(self) -> str:
        """The directory."""
        return str(self.path)

    def rotate(self, algorithm: str | None = None, *, min_age_s: float = 0, at_once: bool = False) -> rotation.Change:
        """Writes a next key; see `fungible.tokens.rotation`. Of several processes that do so at once one does it.

        Raises:
            SettingError: the directory can't be written to, or it is not clear which algorithm is meant.
        """
        with locked(self.path):
            self._read(first=False, now=self._now())
            change = rotation.rotate(
                self._all,
                algorithm,
                now=self._now(),
                settle_s=self.settle_s,
                longest_life_s=self.longest_life_s,
                min_age_s=min_age_s,
                at_once=at_once,
            )
            self._write(change)
        return change

    def retire(self, kid: str) -> Key:
        """Takes a key away: what it signed is refused wherever this is seen.

        Raises:
            UnknownKeyError: there is none of that name.
            SettingError: it is the only one that signs, or the directory can't be written to.
        """
        with locked(self.path):
            self._read(first=False, now=self._now())
            change = rotation.retire(self._all, kid, now=self._now())
            self._write(change)
        return change.key

    def _write(self, change: rotation.Change) -> None:
        """Brings the files to what the ring is: new ones first, so that nothing is missing at any time.

        A process may be killed between any two of them: the next rotation does the rest.
        """
        if change.changed:
            before = {key.kid: key for key in self._all}
            # The one that the change is about comes first: the others may end because it is there.
            after = {key.kid: key for key in (change.key, *change.keys) if key in change.keys}
            others = {kid for kid, key in before.items() if after.get(kid) is not key}
            written = {write_key(self.path, key).name for kid, key in after.items() if before.get(kid) is not key}
            for name, (_, keys) in self._files.items():
                held = {key.kid for key in keys}
                if name not in written and not held.isdisjoint(others):
                    # The rest of a file that held several keys goes into files of their own.
                    written |= {write_key(self.path, after[kid]).name for kid in held - others}
                    if name not in written:
                        (self.path / name).unlink(missing_ok=True)
            _make_durable(self.path)
        now = self._now()
        self._read(first=False, now=now)
        self._look(now, read=False)

    def _look(self, now: float, *, read: bool = True) -> KeySet:
        if read:
            try:
                self._read(first=False, now=now)
            except SettingError as error:
                # A directory that is gone for a moment must not refuse everybody: the keys read before go on.
                log.error("the keys could not be read again, the former ones stay in use: %s", error)
        self._set = key_set(self._all, now, until=now + self._reload_s)
        return self._set

    def _read(self, *, first: bool, now: float) -> None:
        """Reads the files that have changed; a file that can't be read keeps the keys it had."""
        try:
            found = sorted(_files_in(self.path))
        except OSError as error:
            raise SettingError(f"the keys in {self.path} can't be read: {error.strerror}") from error
        files: dict[str, tuple[Found, tuple[Key, ...]]] = {}
        for name, seen in found:
            former = self._files.get(name)
            if former is not None and former[0] == seen:
                files[name] = former
                continue
            try:
                files[name] = (seen, tuple(read_file(self.path / name)))
            except SettingError as error:
                if first:
                    raise
                log.error("a key file can't be read, what it held before stays in use: %s", error)
                if former is not None:
                    files[name] = former
        keys = self._dated(files, first=first, now=now)
        if not keys:
            raise SettingError(f"{self.path} holds no key: `fungible keys new {self.path}` makes one")
        self._files, self._all = files, tuple(keys)

    def _dated(self, files: Mapping[str, tuple[Found, Sequence[Key]]], *, first: bool, now: float) -> list[Key]:
        """The keys, each once, with a time to begin for those that say none: from their arrival on."""
        arrived, keys, undated = dict[str, float](), dict[str, Key](), list[str]()
        for (modified_ns, _, _), held in files.values():
            for key in held:
                # A Secret that is mounted anew gives all its files a new time: what was seen earlier counts.
                came = modified_ns / 1e9 if first else self._arrived.get(key.kid, now)
                arrived.setdefault(key.kid, came)
                if key.kid in keys:
                    continue
                if key.activates_at:
                    keys[key.kid] = key
                else:
                    begins = arrived[key.kid] + self.settle_s
                    known = next((old for old in getattr(self, "_all", ()) if old.kid == key.kid), None)
                    same = known is not None and known.activates_at == begins and known.expires_at == key.expires_at
                    keys[key.kid] = known if known is not None and same else key.timed(activates_at=begins)
                    undated.append(key.kid)
        self._arrived = arrived
        if undated and not any(key.is_private and key.activates_at <= now < key.expires_at for key in keys.values()):
            # All are new: of these the first by name, on every instance.
            keys[undated[0]] = keys[undated[0]].timed(activates_at=min(now, keys[undated[0]].activates_at))
        return list(keys.values())


def _files_in(path: Path) -> Iterator[tuple[str, Found]]:
    with os.scandir(path) as entries:
        for entry in entries:
            if not entry.name.startswith("."):
                about = entry.stat()
                if stat.S_ISREG(about.st_mode):
                    yield entry.name, (about.st_mtime_ns, about.st_size, about.st_ino)


def read_file(path: Path) -> list[Key]:
    """The keys in a file: a JWK, a JWK set or a PEM.

    Raises:
        SettingError: it can't be read, or holds something else. The message holds nothing of the file.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES)
    except OSError as error:
        raise SettingError(f"{path} can't be read: {error.strerror}") from error
    if data.lstrip().startswith(b"-----BEGIN"):
        try:
            return [Key.from_pem(data)]
        except SettingError as error:
            raise SettingError(f"{path}: {error}") from None
    try:
        document: Any = json.loads(data)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise SettingError(f"{path} holds neither a JWK nor a PEM")
    members: Any = document.get("keys", [document])  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]
    if not isinstance(members, list) or not all(isinstance(each, dict) for each in members):  # pyright: ignore[reportUnknownVariableType]
        raise SettingError(f"{path} holds no JWK set: its member keys is no list of JWKs")
    return [Key.from_jwk(each, seat=str(path)) for each in members]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]


def file_name(key: Key) -> str:
    """The name of a key's file: in the order in which keys are made."""
    made = datetime.fromtimestamp(key.made_at, UTC).strftime("%Y-%m-%d-%H%M%S")
    safe = "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in key.kid)
    return f"{made}-{safe[:16]}.jwk"


def write_key(directory: Path, key: Key) -> Path:
    """Writes a key's file, for its owner's eyes alone, whole or not at all.

    Raises:
        SettingError: it can't be written.
    """
    path = directory / file_name(key)
    # Drawn, and not this process's ID: in the next container another process has the same one.
    draft = directory / f".{path.name}.{os.urandom(8).hex()}.draft"
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                json.dump(key.private_jwk(), file, indent=1)
                file.write("\n")
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise
        _make_durable(directory)
    except OSError as error:
        raise SettingError(f"{path} can't be written: {error.strerror}") from error
    return path


def _make_durable(directory: Path) -> None:
    """Has the disk keep the names that files were given, in that order, through a power cut."""
    with suppress(OSError):  # Windows opens no directory, and some file systems have nothing to do
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def locked(directory: Path) -> Generator[None]:
    """Holds the directory against other processes that change its keys, on this machine or another.

    The kernel lets go of the lock when the process ends, however that ends. It is that of a file, which stays: a lock on
    a directory holds on NFS for one machine alone.

    Raises:
        SettingError: it can't be had.
    """
    try:
        import fcntl
    except ImportError:  # pragma: no cover - Windows has no such lock, and nobody rotates there from several processes
        yield
        return
    try:
        # For writing: NFS gives no exclusive lock else.
        descriptor = os.open(directory / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise SettingError(f"{directory} can't be opened for a change: {error.strerror}") from error
    try:
        _wait_for(functools.partial(fcntl.flock, descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB), directory / LOCK)
        try:
            _clear(directory)
            yield
        finally:
            # Said, and not left to the closing: a process that was forked from this one may have the file open, too.
            fcntl.flock(descriptor, fcntl.LOCK_UN)
    finally:
        os.close(descriptor)


def _wait_for(take: Callable[[], None], lock: Path) -> None:
    give_up_at = time.monotonic() + LOCKED_WITHIN_S
    while True:
        try:
            take()
        except BlockingIOError:
            if time.monotonic() > give_up_at:
                words = f"another process has held {lock} for {LOCKED_WITHIN_S:g} s: has it been stopped?"
                raise SettingError(words) from None
            time.sleep(0.02)
        except OSError as error:
            raise SettingError(f"{lock} can't be locked: {error.strerror}") from error
        else:
            return


def _clear(directory: Path) -> None:
    """Takes away what processes that were killed have left: private keys in files that nobody reads."""
    with suppress(OSError), os.scandir(directory) as entries:
        for name in [entry.name for entry in entries if DRAFT.fullmatch(entry.name)]:
            (directory / name).unlink(missing_ok=True)
            log.warning("a change of the keys in %s was cut short: the half-written %s is deleted", directory, name)


def new_key_file(directory: str | Path, algorithm: str, *, now: Callable[[], float] = time.time) -> rotation.Change:
    """Makes the directory, if need be, and a first key in it, if it has none for that form of token.

    Raises:
        SettingError: it can't be written to, or holds what can't be read.
    """
    path = Path(directory)
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with locked(path):
            held = [key for name, _ in sorted(_files_in(path)) for key in read_file(path / name)]
            change = rotation.first_key(held, algorithm, now=math.floor(now()))
            if change.changed:
                write_key(path, change.key)
    except OSError as error:
        raise SettingError(f"{path} can't be made: {error.strerror}") from error
    return change
