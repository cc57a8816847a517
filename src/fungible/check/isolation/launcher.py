"""Stand-alone program that gives one disk its private view and is the parent of all that runs on it.

Run as `python -I -S launcher.py FD`, where FD is one end of a socket pair; the first message is the plan. Nothing of
Fungible's package is imported, as starting takes longer with every import, and it is started for every disk.

The process that is started here, the keeper, makes the mounts and then waits. With a PID namespace its child, the
first process of that namespace, serves the checker's requests: when it ends, the kernel kills all that runs in there.
Without one the keeper serves. Whichever of the checker, the keeper and the server is killed, the others notice the
end of a socket or a pipe, and nothing stays.
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
from _socket import socket

TYPE_CHECKING = False
if TYPE_CHECKING or __package__:
    from fungible.check.isolation.launcher_channel import receive, send
    from fungible.check.isolation.launcher_files import remove_below
    from fungible.check.isolation.launcher_kernel import adopt_orphans, die_with_parent, leave_shared_mounts, mount_proc
    from fungible.check.isolation.launcher_mounts import MountError, make_mounts
    from fungible.check.isolation.launcher_parent import Parent, kill_descendants, own_number, reap, wake_on_child_exit
else:
    # At the end: no file of ours may stand in for a module of the standard library.
    sys.path.append(os.path.dirname(os.path.abspath(__file__)))
    from launcher_channel import receive, send
    from launcher_files import remove_below
    from launcher_kernel import adopt_orphans, die_with_parent, leave_shared_mounts, mount_proc
    from launcher_mounts import MountError, make_mounts
    from launcher_parent import Parent, kill_descendants, own_number, reap, wake_on_child_exit

if TYPE_CHECKING:
    from typing import NoReturn

    from fungible.check.isolation.launcher_channel import Message


def main() -> None:
    """Keeps one disk until the checker closes its end, or dies."""
    control = socket(fileno=int(sys.argv[1]))
    os.set_inheritable(control.fileno(), False)
    plan, _ = receive(control)
    if plan is None:
        return
    # Opened before there are mounts: these must lead to the real disk.
    parents = [os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY) for path in plan["scratch"]]
    try:
        _keep(control, plan)
    except (OSError, MountError) as error:
        with contextlib.suppress(OSError):
            send(control, {"error": _in_words(error)})
    for parent, path in zip(parents, plan["scratch"], strict=True):
        remove_below(parent, os.path.basename(path))


def _in_words(error: OSError | MountError) -> str:
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def _keep(control: socket, plan: Message) -> None:
    """Sets up what the plan asks for, serves, and returns when all that ran here is dead."""
    ready: Message = {"overlaid": [], "failed": {}, "as_user": False}
    if plan["private_mounts"]:
        # Opened while it is still the /proc that the checker sees.
        host_proc = os.open("/proc", os.O_RDONLY | os.O_DIRECTORY)
        ready["as_user"] = leave_shared_mounts(pid_namespace=plan["pid_namespace"])
        ready["overlaid"], ready["failed"] = make_mounts(plan["mounts"], as_user=ready["as_user"])
    else:
        host_proc = -1
    life, end_of_life = os.pipe()
    if not plan["pid_namespace"]:
        _serve(control, life, host_proc, ready, only_mine=end_of_life)
        kill_descendants(reap)
        return
    server = os.fork()
    if server == 0:
        os.close(end_of_life)
        _be_first(control, life, host_proc, ready)
    os.waitpid(server, 0)


def _be_first(control: socket, life: int, host_proc: int, ready: Message) -> NoReturn:
    """The first process of a PID namespace: all others die with it."""
    try:
        die_with_parent()
        mount_proc()
        _serve(control, life, host_proc, ready)
    except OSError as error:
        send(control, {"error": f"a PID namespace of its own: {_in_words(error)}"})
    finally:
        os._exit(0)


def _serve(control: socket, life: int, host_proc: int, ready: Message, *, only_mine: int = -1) -> None:
    """Starts what the checker asks for, until it closes its end; children do not keep the descriptor `only_mine`."""
    adopt_orphans()
    wake = wake_on_child_exit()
    poll = select.poll()
    for descriptor in (control.fileno(), life, wake):
        poll.register(descriptor, select.POLLIN)
    send(control, {"pid": own_number(host_proc), **ready})
    while True:
        for descriptor, _ in poll.poll():
            if descriptor == wake:
                os.read(wake, 512)
                reap()
            elif descriptor == life or not _start(control, life, host_proc, only_mine):
                return


def _start(control: socket, life: int, host_proc: int, only_mine: int) -> bool:
    """Starts one instance under a parent of its own; False where the checker has closed its end."""
    request, descriptors = receive(control)
    if request is None:
        return False
    channel, log = descriptors
    if os.fork() == 0:
        try:
            control.close()
            if only_mine >= 0:
                os.close(only_mine)
            Parent(socket(fileno=channel), life, host_proc).run(request, log)
        finally:
            os._exit(1)
    os.close(channel)
    os.close(log)
    return True


if __name__ == "__main__":
    main()
