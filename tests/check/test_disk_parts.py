"""The parts that disks are made of, where no process is needed to tell right from wrong."""

import os
from pathlib import Path

import pytest

from fungible.check.errors import CheckError, StartError
from fungible.check.isolation import disk_copy
from fungible.check.isolation.disk import directly
from fungible.check.isolation.disk_environment import private_variables
from fungible.check.isolation.disk_mounts import MountPoint, Operation, View, operations
from fungible.check.isolation.disk_sockets import tcp_table
from fungible.check.isolation.disk_uppers import upper_place
from fungible.check.isolation.launcher_files import remove_directory
from fungible.check.isolation.launcher_mounts import needed


@pytest.mark.parametrize(
    ("command", "direct"),
    [
        ("node server.js", "exec node server.js"),
        ("  gunicorn 'a b:app' ", "exec gunicorn 'a b:app'"),
        ("cd app && node server.js", None),
        ("PORT=1 node server.js", None),
        ("exec node server.js", None),
        (". ./env", None),
        ("ulimit -n 100", None),
        ("a | b", None),
        ("a > b", None),
        ("a\nb", None),
        ("", None),
    ],
)
def test_a_single_program_takes_the_place_of_its_shell(command: str, direct: str | None) -> None:
    assert directly(command) == (direct or command)


def never(_: Path) -> tuple[Path, Path]:
    return Path("/upper"), Path("/work")


def carried_out(planned: list[Operation]) -> dict[str, str]:
    """What a launcher would do, if all of it went well."""
    done: dict[str, str] = {}
    for operation in sorted(planned, key=lambda one: one["at"].split("/")):
        if needed(operation, done):
            done[operation["at"]] = operation["do"]
    return done


def test_a_path_below_an_overlaid_one_needs_no_mount_of_its_own() -> None:
    view = View(Path("/nowhere/u/app"), (Path("/nowhere/u"), Path("/nowhere/tmp")), shared={})
    assert carried_out(operations(view, [], never)) == {"/nowhere/u": "overlay", "/nowhere/tmp": "overlay"}


def test_what_is_mounted_below_an_overlaid_path_is_overlaid_too() -> None:
    view = View(Path("/nowhere/u/app"), (Path("/nowhere/u"),), shared={Path("/nowhere/u/share"): None})
    mounts = [MountPoint(Path(at), "ext4") for at in ("/", "/nowhere/u/app", "/nowhere/u/share/deep", "/nowhere/ux")]
    assert carried_out(operations(view, mounts, never)) == {
        "/nowhere/u": "overlay",
        "/nowhere/u/app": "overlay",
        "/nowhere/u/share": "bind",
    }


def test_what_is_shared_is_mounted_where_it_would_not_be_seen_else() -> None:
    shared = {Path("/nowhere/app/uploads"): None, Path("/elsewhere"): None, Path("/stand-in"): Path("/copy")}
    view = View(Path("/nowhere/app"), (), shared)
    assert carried_out(operations(view, [], never)) == {
        "/nowhere/app": "overlay",
        "/nowhere/app/uploads": "bind",
        "/stand-in": "bind",
    }


def test_the_upper_directory_lies_outside_of_what_is_overlaid_and_not_on_an_overlay() -> None:
    mounts = [MountPoint(Path("/"), "overlay"), MountPoint(Path("/tmp"), "ext4"), MountPoint(Path("/dev/shm"), "tmpfs")]
    candidates = [Path("/var/tmp"), Path("/tmp/x"), Path("/dev/shm")]
    assert upper_place(Path("/app"), candidates, mounts) == Path("/tmp/x")
    assert upper_place(Path("/tmp"), candidates, mounts) == Path("/dev/shm")
    assert upper_place(Path("/tmp/x"), candidates[:2], mounts) is None


def test_a_copy_has_links_in_place_of_what_is_big_or_shared(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    for folder in ("lib", "node_modules/x", "uploads/deep", "out", "data"):
        (source / folder).mkdir(parents=True)
    (source / "lib/code.py").write_text("code")
    (source / "lib/code.py").chmod(0o755)
    (source / "inside").symlink_to("lib/code.py")
    (source / "absolute").symlink_to(source / "lib")
    (source / "outside").symlink_to("../elsewhere")
    (source / "gone").symlink_to("nothing")
    os.mkfifo(source / "pipe")
    disk_copy.copy_tree(source, target, linked=[source / "uploads"], left_out=[source / "out"])
    found = {
        str(path.relative_to(target)): path.readlink() if path.is_symlink() else None for path in target.rglob("*")
    }
    assert found == {
        "lib": None,
        "lib/code.py": None,
        "data": None,
        "node_modules": source / "node_modules",
        "uploads": source / "uploads",
        "inside": Path("lib/code.py"),
        "absolute": target / "lib",
        "outside": tmp_path / "elsewhere",
        "gone": Path("nothing"),
    }
    assert (target / "lib/code.py").stat().st_mode == (source / "lib/code.py").stat().st_mode


def test_what_is_too_big_is_not_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "big").write_bytes(b"x" * 100)
    monkeypatch.setattr(disk_copy, "MAX_BYTES", 99)
    with pytest.raises(CheckError, match="`directory`"):
        disk_copy.copy_tree(source, tmp_path / "target", linked=[], left_out=[])
    assert not (tmp_path / "target").exists()


def test_a_copy_that_is_no_longer_wanted_is_given_up(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    for name in "abcd":
        (source / name).touch()
    # Asked before each of four files is looked at, then before each is copied.
    answers = iter([True] * 6 + [False])
    with pytest.raises(StartError, match="no longer wanted"):
        disk_copy.copy_tree(source, target, linked=[], left_out=[], wanted=lambda: next(answers))
    assert sorted(path.name for path in target.iterdir()) == ["a", "b"]


def test_a_private_home_takes_all_its_variables_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    given = {"HOME": str(tmp_path), "XDG_CACHE_HOME": f"{tmp_path}/cache", "XDG_RUNTIME_DIR": "/run/user/7", "A": "b"}
    in_place = private_variables(given, directory=Path("/app"), home=None, temporary=Path("/tmp"))
    assert in_place["HOME"] == str(tmp_path)
    assert "XDG_CACHE_HOME" not in in_place
    assert in_place["XDG_RUNTIME_DIR"] == "/run/user/7"
    assert (in_place["A"], in_place["TMPDIR"], in_place["PWD"]) == ("b", "/tmp", "/app")
    own = private_variables(given, directory=Path("/app"), home=Path("/own"), temporary=Path("/t"))
    assert (own["HOME"], own["XDG_CACHE_HOME"], own["TEMP"]) == ("/own", "/own/.cache", "/t")


def test_addresses_of_both_families_are_read() -> None:
    lines = [
        "  sl  local_address rem_address   st",
        "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 11 1",
        "   1: 00000000000000000000000001000000:0050 00000000000000000000000000000000:0000 0A 0:0 0:0 0 0 0 12 1",
        "   2: 0000000000000000FFFF00000100007F:C000 0000000000000000FFFF00000200007F:18EB 01 0:0 0:0 0 0 0 13 1",
    ]
    found = tcp_table("\n".join(lines))
    assert [(one.inode, one.local) for one in found] == [
        ("11", ("127.0.0.1", 8080)),
        ("12", ("::1", 80)),
        ("13", ("127.0.0.1", 49152)),
    ]
    assert found[2].remote == ("127.0.0.2", 6379)


def test_what_can_not_be_listed_is_removed_all_the_same(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "folder", tmp_path / "elsewhere"
    (folder / "locked" / "deep").mkdir(parents=True)
    (folder / "locked" / "deep" / "file").touch()
    elsewhere.mkdir()
    (elsewhere / "kept").touch()
    (folder / "locked" / "link").symlink_to(elsewhere)
    (folder / "locked").chmod(0)
    remove_directory(str(folder))
    assert not folder.exists()
    assert (elsewhere / "kept").exists()
    remove_directory(str(folder))
