"""Key rings: secrets are exchanged while instances run, and at no moment is anybody signed out."""

import os
import random
from pathlib import Path

import pytest

from fungible.core.errors import SettingError
from fungible.core.keyring import Key, KeyDirectory, KeyRing, derived_key, key_ring

FIRST, SECOND, THIRD = (f"{word} secret, which has enough bytes" for word in ("first", "second", "third"))


class Clock:
    """Turned by hand, by which files get their times, too."""

    def __init__(self) -> None:
        self.time_s = 1_800_000_000.0

    def __call__(self) -> float:
        return self.time_s


class Folder:
    """A directory with secrets, as it stands on one node."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self.path, self.clock = path, clock
        path.mkdir()

    def write(self, name: str, secret: str, *, aged_s: float = 0.0) -> None:
        file = self.path / name
        file.write_text(secret)
        os.utime(file, (self.clock() - aged_s,) * 2)

    def open(self) -> KeyDirectory:
        return KeyDirectory(self.path, settle_s=120, reload_s=5, now=self.clock)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def folder(tmp_path: Path, clock: Clock) -> Folder:
    return Folder(tmp_path / "keys", clock)


def kid(secret: str) -> bytes:
    return derived_key(secret).kid


def test_the_first_secret_signs_and_each_of_them_opens() -> None:
    ring = KeyRing([SECOND, FIRST])
    assert ring.current().kid == kid(SECOND)
    assert ring.find(kid(FIRST)) == derived_key(FIRST)
    assert ring.find(kid(THIRD)) is None


def test_a_secret_gives_the_same_key_everywhere_as_text_and_as_bytes() -> None:
    assert derived_key(FIRST) == derived_key(FIRST.encode())
    assert derived_key(FIRST).secret not in FIRST.encode()
    assert derived_key(FIRST) == Key(
        kid=bytes.fromhex(kid(FIRST).hex()), secret=derived_key(FIRST).secret
    )  # fmt: skip
    assert (len(kid(FIRST)), len(derived_key(FIRST).secret)) == (4, 32)


@pytest.mark.parametrize("secret", ["", "x" * 31, b"short", "é" * 15])
def test_short_secrets_are_refused_and_told_how_to_make_one(secret: str | bytes) -> None:
    with pytest.raises(SettingError, match=r"has \d+ bytes, and needs 32 or more.*token_urlsafe"):
        KeyRing([FIRST, secret])


@pytest.mark.parametrize("secret", ["x" * 32, "ab" * 20, b"\x00" * 64])
def test_secrets_of_one_character_are_refused(secret: str | bytes) -> None:
    with pytest.raises(SettingError, match="can be guessed"):
        KeyRing([secret])


def test_a_ring_is_made_from_whatever_a_setting_may_be() -> None:
    ring = KeyRing([FIRST])
    assert key_ring(ring) is ring
    for setting in (FIRST, FIRST.encode(), [FIRST, SECOND], (FIRST,), (each for each in [FIRST])):
        assert key_ring(setting).current().kid == kid(FIRST)
    with pytest.raises(SettingError, match="at least one"):
        key_ring([])


def test_an_empty_or_missing_directory_is_refused(folder: Folder) -> None:
    with pytest.raises(SettingError, match="holds no key"):
        folder.open()
    with pytest.raises(SettingError, match="can't be read"):
        KeyDirectory(folder.path / "missing")


def test_a_directory_with_a_short_secret_is_refused_by_its_files_name(folder: Folder) -> None:
    folder.write("2026.key", "short")
    with pytest.raises(SettingError, match=r"2026\.key has 5 bytes"):
        folder.open()


def test_a_new_file_opens_at_once_and_signs_when_it_has_settled(folder: Folder, clock: Clock) -> None:
    folder.write("1.key", FIRST, aged_s=9999)
    ring = folder.open()
    folder.write("2.key", SECOND)
    assert ring.find(kid(SECOND)) is None
    clock.time_s += 6
    assert ring.find(kid(SECOND)) is not None
    assert ring.current().kid == kid(FIRST)
    clock.time_s += 130
    assert ring.current().kid == kid(SECOND)
    assert ring.find(kid(FIRST)) is not None


def test_a_file_that_was_made_long_ago_elsewhere_settles_from_its_arrival_here(folder: Folder, clock: Clock) -> None:
    folder.write("1.key", FIRST, aged_s=9999)
    ring = folder.open()
    folder.write("2.key", SECOND, aged_s=5000)
    clock.time_s += 6
    assert ring.current().kid == kid(FIRST)
    clock.time_s += 115
    assert ring.current().kid == kid(FIRST)
    clock.time_s += 10
    assert ring.current().kid == kid(SECOND)


def test_a_file_that_is_taken_away_opens_nothing_any_more(folder: Folder, clock: Clock) -> None:
    folder.write("1.key", FIRST, aged_s=9999)
    folder.write("2.key", SECOND, aged_s=9999)
    ring = folder.open()
    assert ring.find(kid(FIRST)) is not None
    (folder.path / "1.key").unlink()
    clock.time_s += 6
    assert ring.find(kid(FIRST)) is None


def test_a_half_written_file_changes_nothing_until_it_is_whole(folder: Folder, clock: Clock) -> None:
    folder.write("1.key", FIRST, aged_s=9999)
    ring = folder.open()
    folder.write("2.key", SECOND[:7])
    clock.time_s += 6
    assert ring.current().kid == kid(FIRST)
    assert ring.find(kid(FIRST)) is not None
    folder.write("2.key", SECOND)
    clock.time_s += 6
    assert ring.find(kid(SECOND)) is not None
    (folder.path / "1.key").unlink()
    (folder.path / "2.key").unlink()
    clock.time_s += 6
    assert ring.current().kid == kid(FIRST)


def test_line_ends_and_hidden_files_do_not_matter(folder: Folder) -> None:
    folder.write("1.key", f"{FIRST}\r\n", aged_s=9999)
    folder.write(".gitignore", "no secret")
    (folder.path / "folder").mkdir()
    assert folder.open().current().kid == kid(FIRST)


class MountedSecret:
    """As kubelet writes it: files lead through `..data` to a folder that is exchanged whole, every file with a new time."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self.path, self.clock, self.versions = path, clock, 0
        path.mkdir()

    def write(self, secrets: dict[str, str]) -> None:
        self.versions += 1
        version = self.path / f"..2026_{self.versions}"
        version.mkdir()
        for name, secret in secrets.items():
            (version / name).write_text(secret)
            os.utime(version / name, (self.clock(),) * 2)
        (self.path / "..data_tmp").symlink_to(version.name)
        (self.path / "..data_tmp").replace(self.path / "..data")
        for name in secrets:
            if not (self.path / name).is_symlink():
                (self.path / name).symlink_to(f"..data/{name}")
        for link in self.path.iterdir():
            if not link.name.startswith(".") and link.name not in secrets:
                link.unlink()


def test_a_mounted_secret_that_is_written_anew_does_not_unsettle_its_older_keys(tmp_path: Path, clock: Clock) -> None:
    mounted = MountedSecret(tmp_path / "mounted", clock)
    mounted.write({"1.key": FIRST, "2.key": SECOND})
    ring = KeyDirectory(mounted.path, now=clock)
    clock.time_s += 1000
    assert ring.current().kid == kid(SECOND)
    mounted.write({"1.key": FIRST, "2.key": SECOND, "3.key": THIRD})
    clock.time_s += 6
    assert ring.find(kid(THIRD)) is not None
    assert ring.current().kid == kid(SECOND)
    clock.time_s += 121
    assert ring.current().kid == kid(THIRD)
    mounted.write({"2.key": SECOND, "3.key": THIRD})
    clock.time_s += 6
    assert ring.find(kid(FIRST)) is None
    assert ring.current().kid == kid(THIRD)


@pytest.mark.parametrize("seed", range(10))
def test_at_no_moment_does_an_instance_sign_what_another_can_not_open(tmp_path: Path, seed: int) -> None:
    chance, clock = random.Random(seed), Clock()
    nodes = [MountedSecret(tmp_path / f"node{number}", clock) for number in range(3)]
    secrets = {"1.key": FIRST}
    for node in nodes:
        node.write(secrets)
    clock.time_s += 1000
    rings = [KeyDirectory(node.path, settle_s=120, reload_s=5, now=clock) for node in nodes]
    changes = [{"1.key": FIRST, "2.key": SECOND}, {"1.key": FIRST, "2.key": SECOND, "3.key": THIRD}]
    for secrets in changes:
        # A mounted Secret reaches the nodes at different times, up to a minute and a half apart.
        arrives = {number: chance.uniform(0, 90) for number in range(3)}
        began = clock()
        while clock() < began + 400:
            for number in [number for number, after_s in arrives.items() if clock() >= began + after_s]:
                nodes[number].write(secrets)
                del arrives[number]
            if chance.random() < 0.1:
                # An instance is restarted, and knows nothing of what it saw earlier.
                number = chance.randrange(3)
                rings[number] = KeyDirectory(nodes[number].path, settle_s=120, reload_s=5, now=clock)
            # Also those that nobody has asked for a while.
            signer = chance.choice(rings).current()
            assert all(ring.find(signer.kid) == signer for ring in rings)
            clock.time_s += chance.uniform(0.5, 7)
        assert {ring.current().kid for ring in rings} == {derived_key([*secrets.values()][-1]).kid}
