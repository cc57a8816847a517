"""A ring in a directory: read, read again, rotated, and mounted as Kubernetes does it."""

import json
import logging
import math
import multiprocessing
import os
import signal
import stat
import sys
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
from contracts.clock import Clock
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from fungible.core.errors import SettingError
from fungible.tokens import InvalidTokenError, Key, KeyFiles, UnknownKeyError, key_files
from fungible.tokens.claims import OUTLIVES_EXP_S
from fungible.tokens.key_files import new_key_file, write_key
from tokens.core.material import NOW, issuer_with, key_for, verifier_with


@pytest.fixture
def clock() -> Clock:
    clock = Clock()
    clock.time_s = NOW
    return clock


def ring(path: Path, clock: Clock, **settings: Any) -> KeyFiles:
    return KeyFiles(path, now=clock, **settings)


def signing(keys: KeyFiles, clock: Clock) -> str:
    return keys.known(clock()).signing["jwt"].kid


def pem(key: Any) -> bytes:
    private = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, private, serialization.NoEncryption())


def arrive(path: Path, at: float) -> None:
    """A file's time, by the test's clock."""
    os.utime(path, (at, at))


def test_a_first_key_is_made_for_its_owners_eyes_alone_and_signs_at_once(tmp_path: Path, clock: Clock) -> None:
    home = tmp_path / "deep" / "keys"
    change = new_key_file(home, "EdDSA", now=clock)
    assert not new_key_file(home, "ES256", now=clock).changed
    (file,) = home.glob("*.jwk")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert file.name == f"2027-01-15-080000-{change.key.kid[:16]}.jwk"
    keys = ring(home, clock)
    text = issuer_with(keys, now=clock, instances=3).issue("ada")
    assert verifier_with(ring(home, clock), now=clock).verify(text).kid == change.key.kid
    assert keys.homes()[0].home == str(home)


def test_a_rotation_reaches_another_instance_before_the_new_key_signs(tmp_path: Path, clock: Clock) -> None:
    new_key_file(tmp_path, "EdDSA", now=clock)
    here, there = ring(tmp_path, clock), ring(tmp_path, clock)
    old = signing(here, clock)
    change = here.rotate()
    assert signing(here, clock) == signing(there, clock) == old
    clock.time_s += 5  # reload_s
    assert change.key.kid in there.known(clock()).by_kid
    issuer, judge = issuer_with(here, now=clock, ttl_s=3600), verifier_with(there, now=clock)
    clock.time_s = NOW + 300  # settle_s
    assert judge.verify(issuer.issue("ada")).kid == change.key.kid
    assert old in there.known(clock()).by_kid
    clock.time_s = NOW + 300 + 3600 + OUTLIVES_EXP_S
    assert old not in there.known(clock()).by_kid


def test_a_token_may_not_outlive_the_key_that_signed_it(tmp_path: Path, clock: Clock) -> None:
    new_key_file(tmp_path, "EdDSA", now=clock)
    keys = ring(tmp_path, clock, longest_life_s=600)
    with pytest.raises(SettingError, match="longest_life_s"):
        issuer_with(keys, ttl_s=601)
    issuer = issuer_with(keys, now=clock, ttl_s=600)
    with pytest.raises(SettingError, match="longest_life_s"):
        issuer.issue("ada", ttl_s=601)


def test_a_retired_key_is_refused_when_the_directory_is_looked_at_again(tmp_path: Path, clock: Clock) -> None:
    new_key_file(tmp_path, "EdDSA", now=clock)
    here, there = ring(tmp_path, clock), ring(tmp_path, clock)
    old = signing(here, clock)
    text = issuer_with(here, now=clock).issue("ada")
    with pytest.raises(SettingError, match="only one that signs"):
        here.retire(old)
    clock.time_s += 10
    here.rotate(at_once=True)
    assert here.retire(old[:10]).kid == old
    with pytest.raises(UnknownKeyError):
        here.retire(old)
    clock.time_s += 5
    with pytest.raises(InvalidTokenError) as refused:
        verifier_with(there, now=clock).verify(text)
    assert refused.value.reason == "key"
    assert len(list(tmp_path.glob("*.jwk"))) == 1


def test_keys_in_pem_and_in_a_set_are_read_and_begin_when_they_have_settled(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "2026.pem").write_bytes(pem(ed25519.Ed25519PrivateKey.generate()))
    arrive(tmp_path / "2026.pem", NOW - 9999)
    keys = ring(tmp_path, clock)
    first = signing(keys, clock)
    (tmp_path / "2027.pem").write_bytes(pem(ec.generate_private_key(ec.SECP256R1())))
    (tmp_path / "others.json").write_text(json.dumps({"keys": [key_for("HS256").private_jwk()]}))
    clock.time_s += 5
    ring_now = keys.known(clock())
    assert {key.algorithm for key in ring_now.keys} == {"EdDSA", "ES256", "HS256"}
    assert signing(keys, clock) == first
    clock.time_s += 299
    assert signing(keys, clock) == first
    clock.time_s += 1
    assert signing(keys, clock) != first


def test_of_keys_that_are_all_new_the_first_by_name_signs_on_every_instance(tmp_path: Path, clock: Clock) -> None:
    for name in ("b.pem", "a.pem"):
        (tmp_path / name).write_bytes(pem(ed25519.Ed25519PrivateKey.generate()))
        arrive(tmp_path / name, NOW)
    first = Key.from_pem((tmp_path / "a.pem").read_bytes()).kid
    assert signing(ring(tmp_path, clock), clock) == signing(ring(tmp_path, clock), clock) == first


def test_a_secret_that_kubernetes_mounts_is_exchanged_whole(tmp_path: Path, clock: Clock) -> None:
    # A mounted Secret: each name is a link to ..data/name, and ..data a link that is exchanged at once.
    def mount(name: str, keys: list[Key]) -> None:
        folder = tmp_path / name
        folder.mkdir()
        for number, key in enumerate(keys):
            (folder / f"{number}.jwk").write_text(json.dumps(key.private_jwk()))
        (tmp_path / "..tmp").symlink_to(name)
        (tmp_path / "..tmp").rename(tmp_path / "..data")
        for number in range(2):
            link = tmp_path / f"{number}.jwk"
            if number < len(keys) and not link.is_symlink():
                link.symlink_to(f"..data/{number}.jwk")

    old, new = Key.generate(activates_at=NOW - 99), Key.generate(activates_at=NOW + 300)
    mount("..1", [old])
    keys = ring(tmp_path, clock)
    assert {key.kid for key in keys.known(clock()).keys} == {old.kid}
    mount("..2", [old.timed(expires_at=NOW + 4000), new])
    clock.time_s += 5
    assert {key.kid for key in keys.known(clock()).keys} == {old.kid, new.kid}
    clock.time_s = NOW + 300
    assert signing(keys, clock) == new.kid


def test_a_file_that_can_not_be_read_keeps_its_key_and_no_other(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    one, two = (Key.generate(activates_at=NOW - 99 - number, made_at=number) for number in (0, 1))
    first, second = write_key(tmp_path, one), write_key(tmp_path, two)
    keys = ring(tmp_path, clock)
    first.write_text('{"kty":')
    second.unlink()
    clock.time_s += 5
    with caplog.at_level(logging.ERROR, "fungible.tokens"):
        assert set(keys.known(clock()).by_kid) == {one.kid}
    assert str(first) in caplog.text
    assert one.private_jwk()["d"] not in caplog.text


def test_a_directory_that_is_gone_for_a_moment_refuses_nobody(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    home = tmp_path / "keys"
    new_key_file(home, "EdDSA", now=clock)
    keys = ring(home, clock)
    text = issuer_with(keys, now=clock).issue("ada")
    home.rename(tmp_path / "gone")
    clock.time_s += 5
    assert verifier_with(keys, now=clock).verify(text).subject == "ada"
    assert "former ones stay in use" in caplog.text


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "neither a JWK nor a PEM"),
        (b"[]", "neither a JWK nor a PEM"),
        (b"\xff\x00", "neither a JWK nor a PEM"),
        (b"{}", "member 'kty' is missing"),
        (b'{"keys": 1}', "no JWK set"),
        (b'{"keys": [1]}', "no JWK set"),
        (b"-----BEGIN PRIVATE KEY-----\nxx\n-----END PRIVATE KEY-----", "no PEM of a key"),
        (b'{"kty":"oct","k":"c2VjcmV0LXRoYXQtaXMtcGxlbnR5LWxvbmctZW5vdWdoLWZvci1oczI1Ng"}', "needs a text as its alg"),
        (b'{"kty":"oct","alg":"HS256","k":"c2VjcmV0"}', "32 bytes or more"),
    ],
)
def test_a_file_that_holds_no_key_is_named_at_start(tmp_path: Path, clock: Clock, content: bytes, words: str) -> None:
    (tmp_path / "bad.jwk").write_bytes(content)
    with pytest.raises(SettingError, match=words) as refused:
        ring(tmp_path, clock)
    assert str(tmp_path / "bad.jwk") in str(refused.value)
    assert "c2Vj" not in str(refused.value)


def test_an_empty_or_missing_directory_is_said_to_be_so(tmp_path: Path, clock: Clock) -> None:
    with pytest.raises(SettingError, match="fungible keys new"):
        ring(tmp_path, clock)
    with pytest.raises(SettingError, match="can't be read"):
        ring(tmp_path / "missing", clock)


def test_between_two_looks_no_file_is_touched(tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    new_key_file(tmp_path, "EdDSA", now=clock)
    keys = ring(tmp_path, clock)
    looks: list[object] = []
    real = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: looks.append(path) or real(path))
    monkeypatch.setattr(Path, "open", lambda *_: pytest.fail("an unchanged file was read again"))
    issuer, judge = issuer_with(keys, now=clock), verifier_with(keys, now=clock)
    for second in range(20):
        clock.time_s = NOW + second / 2
        judge.verify(issuer.issue("ada"))
    assert len(looks) == 1


def rotate_when_told(path: str, pipe: Connection) -> None:
    keys = KeyFiles(path)
    pipe.send("ready")
    pipe.recv()
    change = keys.rotate()
    pipe.send((change.changed, change.key.kid))


def test_of_several_processes_that_rotate_at_once_one_makes_a_key(tmp_path: Path) -> None:
    new_key_file(tmp_path, "EdDSA")
    spawning = multiprocessing.get_context("spawn")
    pipes: list[Connection] = []
    processes: list[Any] = []
    for _ in range(3):
        ours, theirs = spawning.Pipe()
        process = spawning.Process(target=rotate_when_told, args=(str(tmp_path), theirs))
        process.start()
        pipes.append(ours)
        processes.append(process)
    assert [pipe.recv() for pipe in pipes] == ["ready"] * 3
    for pipe in pipes:
        pipe.send("go")
    results = [pipe.recv() for pipe in pipes]
    for process in processes:
        process.join()
    assert sorted(changed for changed, _ in results) == [False, False, True]
    assert len({kid for _, kid in results}) == 1
    assert len(list(tmp_path.glob("*.jwk"))) == 2
    assert [path.name for path in tmp_path.glob(".*")] == [".lock"]


STEPS = {"open", "os.rename", "os.remove", "os.scandir", "fcntl.flock", "os.fsync"}


def rotate_up_to(step: int, path: Path) -> bool:
    """Rotates in a process that is killed before its `step`-th step on files; whether it came to its end before."""
    child = os.fork()
    if child:
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) in (0, -signal.SIGKILL)
        return os.waitstatus_to_exitcode(status) == 0
    ended = 1
    try:
        me, left, real = real_pid(), [step], os.fsync

        def hook(event: str, _arguments: object) -> None:
            if event in STEPS:
                left[0] -= 1
                if left[0] == 0:
                    os.kill(me, signal.SIGKILL)

        def fsync(descriptor: int) -> None:
            hook("os.fsync", ())
            real(descriptor)

        os.fsync = fsync
        keys = KeyFiles(path, now=lambda: NOW)
        sys.addaudithook(hook)
        keys.rotate()
        ended = 0
    finally:
        os._exit(ended)


real_pid = os.getpid


@pytest.mark.parametrize("name", [None, "0.pem"])
def test_a_rotation_that_was_killed_at_any_step_is_completed_by_the_next_one(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch, name: str | None
) -> None:
    # In every container the command has the same process ID.
    monkeypatch.setattr(os, "getpid", lambda: 7)
    step, ended = 0, False
    while not ended:
        step += 1
        home = tmp_path / str(step)
        home.mkdir()
        if name is None:
            new_key_file(home, "EdDSA", now=lambda: NOW - 99)
        else:
            (home / name).write_bytes(pem(ed25519.Ed25519PrivateKey.generate()))
            arrive(home / name, NOW - 999)
        old = signing(ring(home, clock), clock)
        ended = rotate_up_to(step, home)
        # Whatever it left, every instance goes on, and no key ends without a successor.
        left = ring(home, clock)
        assert signing(left, clock) == old
        if not math.isinf(left.known(clock()).by_kid[old].expires_at):
            assert len(left.known(clock()).keys) == 2
        left.rotate()
        again = ring(home, clock)
        (following,) = (key for key in again.known(clock()).keys if key.kid != old)
        assert (following.activates_at, following.expires_at) == (NOW + 300, math.inf)
        assert again.known(clock()).by_kid[old].expires_at == NOW + 300 + 3600 + OUTLIVES_EXP_S
        assert not again.rotate().changed
        assert not list(home.glob(".*.jwk*"))
        assert len(list(home.glob("[!.]*"))) == 2
    assert step > 10


def test_a_lock_that_is_held_by_a_process_that_was_stopped_is_named_and_waited_for_no_longer(
    tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    new_key_file(tmp_path, "EdDSA", now=clock)
    monkeypatch.setattr(key_files, "LOCKED_WITHIN_S", 0.1)
    keys = ring(tmp_path, clock)
    with key_files.locked(tmp_path), pytest.raises(SettingError, match=r"\.lock for 0\.1 s: has it been stopped"):
        keys.rotate()
    assert keys.rotate().changed


def test_half_written_keys_that_were_left_behind_are_deleted_and_other_files_are_not(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    new_key_file(tmp_path, "EdDSA", now=clock)
    (name,) = (path.name for path in tmp_path.glob("*.jwk"))
    for draft in (f".{name}.1", f".{name}.0123456789abcdef.draft"):
        (tmp_path / draft).write_text("{")
    (tmp_path / f".{name}.swp").write_text("an editor's")
    ring(tmp_path, clock).rotate()
    assert {path.name for path in tmp_path.glob(".*")} == {".lock", f".{name}.swp"}
    assert f".{name}.1" in caplog.text


def test_a_key_in_a_file_named_by_hand_gets_its_end_when_it_is_replaced(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "mine.pem").write_bytes(pem(ed25519.Ed25519PrivateKey.generate()))
    arrive(tmp_path / "mine.pem", NOW - 999)
    (tmp_path / "set.json").write_text(
        json.dumps({"keys": [key_for("v4.local").private_jwk(), key_for("v4.public").private_jwk()]})
    )
    keys = ring(tmp_path, clock)
    old = signing(keys, clock)
    keys.rotate("EdDSA")
    assert not (tmp_path / "mine.pem").exists()
    assert (tmp_path / "set.json").exists()
    again = ring(tmp_path, clock)
    assert again.known(clock()).by_kid[old].expires_at == NOW + 300 + 3600 + OUTLIVES_EXP_S
    assert len(again.known(clock()).keys) == 4
