"""Makes the private view of the disk: the mounts that a plan asks for, in the mount namespace of this process.

An operation is a dict; `at` is its path, without symbolic links, and `do` what to do there:

- `overlay`: what is written there goes to the directory `upper`; `work` is a directory beside it for the kernel.
  Left out where an overlay of a parent does it already, unless `apart`: that of the parent would not do.
- `bind`: shows `source` there. With `inside`, only where the nearest thing done above it is one of those named.
- `hide`: an empty directory there, if an overlay would show it.

Where `must` is not set, the rest goes on after a failure.
"""

from __future__ import annotations

import contextlib
import errno
import os

TYPE_CHECKING = False
if TYPE_CHECKING or __package__:
    from fungible.check.isolation.launcher_kernel import bind, mount, mount_empty
else:
    from launcher_kernel import bind, mount, mount_empty

if TYPE_CHECKING:
    from typing import Any

    Operation = dict[str, Any]
    Opened = dict[str, int]

_SOURCES = {"overlay": ("at", "upper", "work"), "bind": ("source",), "hide": ()}


class MountError(Exception):
    """A mount that must be is not possible; the message says which and why."""


def make_mounts(operations: list[Operation], *, as_user: bool) -> tuple[list[str], dict[str, str]]:
    """Carries out `operations`, parents first.

    Returns:
        The paths that are overlaid now, and why others are not, by path.
    Raises:
        MountError: One that must be could not be made.
    """
    failed: dict[str, str] = {}
    opened: list[tuple[Operation, Opened]] = []
    # All are opened before the first is mounted: afterwards, their paths may lead into an overlay.
    for operation in sorted(operations, key=lambda one: one["at"].split("/")):
        try:
            opened.append((operation, _open(operation)))
        except OSError as error:
            _note(failed, operation, error)
    done: dict[str, str] = {}
    for operation, descriptors in opened:
        if not needed(operation, done):
            continue
        try:
            _make(operation, descriptors, done, as_user=as_user)
            done[operation["at"]] = operation["do"]
        except OSError as error:
            _note(failed, operation, error)
            _show_again(operation, descriptors, done)
    for _, descriptors in opened:
        for descriptor in descriptors.values():
            os.close(descriptor)
    return [path for path, what in done.items() if what == "overlay"], failed


def _note(failed: dict[str, str], operation: Operation, error: OSError) -> None:
    if operation.get("must"):
        raise MountError(f"{operation['do']} of {operation['at']}: {error.strerror}") from error
    if operation["do"] == "overlay":
        failed[operation["at"]] = error.strerror or str(error)


def _open(operation: Operation) -> Opened:
    if not operation.get("upper", True) and os.path.isdir(operation["at"]):
        raise OSError(errno.ENOENT, "no other folder can take what is written there")
    return {name: os.open(operation[name], os.O_PATH) for name in _SOURCES[operation["do"]]}


def needed(operation: Operation, done: dict[str, str]) -> bool:
    """Whether what was done above an operation leaves anything for it to do."""
    above = _nearest(operation["at"], done)
    if operation["do"] == "overlay":
        return operation.get("apart", False) or above != "overlay"
    if operation["do"] == "hide":
        return above == "overlay"
    return "inside" not in operation or above in operation["inside"]


def _nearest(path: str, done: dict[str, str]) -> str:
    """What was done at the nearest path that `path` is below; empty where there is none."""
    above = [at for at in done if path == at or path.startswith(at.rstrip("/") + "/")]
    return done[max(above, key=len)] if above else ""


def _make(operation: Operation, opened: Opened, done: dict[str, str], *, as_user: bool) -> None:
    at = operation["at"]
    if operation["do"] == "overlay":
        _overlay(at, opened, as_user=as_user)
    elif operation["do"] == "hide":
        mount_empty(at)
    else:
        # Only where it lands in this view alone: a missing place on the real disk is not ours to make.
        if not os.path.exists(at) and _nearest(at, done):
            _make_place(at, is_directory=os.path.isdir(_path(opened["source"])))
        bind(_path(opened["source"]), at)


def _show_again(operation: Operation, opened: Opened, done: dict[str, str]) -> None:
    """What is mounted below an overlay and can't be overlaid itself is at least there, although not private."""
    if operation.get("apart") and _nearest(operation["at"], done) == "overlay":
        with contextlib.suppress(OSError):
            bind(_path(opened["at"]), operation["at"])
            done[operation["at"]] = "bind"


def _overlay(at: str, opened: Opened, *, as_user: bool) -> None:
    """An overlay of `at` over itself.

    `volatile` saves waiting for the disk: an application that is killed loses nothing that was written, and no
    upper directory is used twice. Kernels too old for it get the plain form.
    """
    layers = f"lowerdir={_path(opened['at'])},upperdir={_path(opened['upper'])},workdir={_path(opened['work'])}"
    # In a user namespace an overlay must keep its marks in attributes of users, which rules out redirects.
    kind = ",userxattr" if as_user else ",redirect_dir=on"
    for options in (f"{layers}{kind},volatile,index=off,metacopy=off", layers + (",userxattr" if as_user else "")):
        try:
            mount("overlay", at, "overlay", 0, options)
            return
        except OSError as error:
            failure = error
    raise failure


def _make_place(at: str, *, is_directory: bool) -> None:
    os.makedirs(at if is_directory else os.path.dirname(at), exist_ok=True)
    if not is_directory:
        os.close(os.open(at, os.O_CREAT | os.O_WRONLY, 0o600))


def _path(descriptor: int) -> str:
    return f"/proc/self/fd/{descriptor}"
