"""Key rings: the secrets that all instances share, several at a time, so that they can be exchanged without a restart."""

import hashlib
import logging
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import ClassVar, Final

from msgspec import Struct

from fungible.core.errors import SettingError
from fungible.core.redaction import Redacted

MIN_SECRET_BYTES: Final = 32
KID_BYTES: Final = 4

log = logging.getLogger("fungible.keys")


class Key(Redacted, Struct, frozen=True):
    """One key of a ring."""

    _hidden: ClassVar = ("secret",)
    kid: bytes
    """4 bytes that name it: a digest of the secret, so that no instance can give the name to another key."""
    secret: bytes
    """32 bytes, derived from the secret that was given."""


def derived_key(secret: str | bytes, *, seat: str = "the secret") -> Key:
    """The key that a secret stands for: the same on every instance.

    Raises:
        SettingError: it is shorter than 32 bytes, or one character over and over.
    """
    data = secret.encode() if isinstance(secret, str) else secret
    if len(data) < MIN_SECRET_BYTES:
        raise SettingError(
            f"{seat} has {len(data)} bytes, and needs {MIN_SECRET_BYTES} or more: "
            "python -c 'import secrets; print(secrets.token_urlsafe(32))' makes one"
        )
    if len(set(data)) < 4:
        raise SettingError(f"{seat} can be guessed: it has fewer than four different characters")
    return Key(
        kid=hashlib.blake2b(data, digest_size=KID_BYTES, person=b"fungible-kid").digest(),
        secret=hashlib.blake2b(data, digest_size=32, person=b"fungible-key").digest(),
    )


class KeyRing:
    """Secrets given as they are: the first one makes new cookies, each of them opens."""

    def __init__(self, secrets: Iterable[str | bytes]) -> None:
        self._keys = tuple(derived_key(secret) for secret in secrets)
        if not self._keys:
            raise SettingError("a key ring needs at least one secret")
        self._by_kid = {key.kid: key for key in self._keys}

    def current(self) -> Key:
        """The key that seals and signs."""
        return self._keys[0]

    def find(self, kid: bytes) -> Key | None:
        """The key of that name, current or not; None where the ring has none."""
        return self._by_kid.get(kid)

    def is_current(self, kid: bytes) -> bool | None:
        """Whether the key of that name is the current one; None where the ring has none."""
        return True if kid == self._keys[0].kid else False if kid in self._by_kid else None


class KeyDirectory(KeyRing):
    """Secrets in the files of a directory, read again while the application runs.

    The last file by name is the newest (`2026-11-21.key` follows `2026-08-01.key`); names that begin with a dot are
    passed over, as Kubernetes writes them into a mounted Secret. A new secret opens cookies at once, and makes them
    only when it is `settle_s` old: by then every instance has it, even where a mounted Secret reaches some nodes a
    minute later than others. A file that is taken away opens nothing any more.

    Args:
        path: The directory.
        settle_s: Seconds from a file's arrival to its use for new cookies.
        reload_s: The directory is looked at again when that many seconds have passed.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        settle_s: float = 120.0,
        reload_s: float = 5.0,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._path = Path(path)
        self._settle_s = settle_s
        self._reload_s = reload_s
        self._now = now
        self._arrived: dict[bytes, float] = {}
        self._due = now() + reload_s
        self._read()

    def current(self) -> Key:
        """The key that seals and signs."""
        self._look_again()
        return super().current()

    def find(self, kid: bytes) -> Key | None:
        """The key of that name."""
        self._look_again()
        return super().find(kid)

    def is_current(self, kid: bytes) -> bool | None:
        """Whether the key of that name is the current one."""
        self._look_again()
        return super().is_current(kid)

    def _look_again(self) -> None:
        if self._now() < self._due:
            return
        self._due = self._now() + self._reload_s
        try:
            self._read()
        except (SettingError, OSError) as error:
            # A half-written file must not sign anybody out: the keys read before go on.
            log.error("%s: the keys could not be read again, the former ones stay in use: %s", self._path, error)

    def _read(self) -> None:
        try:
            files = sorted(file for file in self._path.iterdir() if not file.name.startswith(".") and file.is_file())
            found = [(derived_key(file.read_bytes().strip(), seat=str(file)), file.stat().st_mtime) for file in files]
        except OSError as error:
            raise SettingError(f"the keys in {self._path} can't be read: {error.strerror}") from error
        if not found:
            raise SettingError(f"{self._path} holds no key: put a file there with 32 or more random bytes")
        # A Secret that is mounted anew gives all its files a new time: what was seen earlier counts. And a file may be
        # brought here with the time at which it was made elsewhere: here it has arrived just now.
        seen, now = self._arrived, self._now()
        self._arrived = {key.kid: seen.get(key.kid, max(at, now) if seen else at) for key, at in found}
        keys = [key for key, _ in found]
        settled = [key for key in keys if self._arrived[key.kid] <= now - self._settle_s]
        newest = settled[-1] if settled else keys[0]
        self._keys = (newest, *(key for key in keys if key is not newest))
        self._by_kid = {key.kid: key for key in keys}


def key_ring(secret: "str | bytes | Iterable[str | bytes] | KeyRing") -> KeyRing:
    """A ring from what a setting may be: a ring, one secret, or several with the current one first."""
    if isinstance(secret, KeyRing):
        return secret
    return KeyRing([secret] if isinstance(secret, str | bytes) else secret)
