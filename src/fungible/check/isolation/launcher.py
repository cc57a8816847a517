"""Stand-alone program whose copies give each disk its private view, and are the parents of all that runs on it.

Run as `python -I -S launcher.py FD`, once for a check; FD is one end of a socket pair. For each message that comes
with the descriptors of a disk (one end of a socket pair of its own, and where errors go) it forks a launcher: a fork
takes a millisecond, where an interpreter takes many to start. This process does nothing else, and has one thread.
Nothing of Fungible's package is imported, as every fork would carry it.

The fork, the keeper, reads the plan of its disk, makes the mounts and then waits. With a PID namespace its child, the
first process of that namespace, serves the checker's requests: when it ends, the kernel kills all that runs in there.
Without one the keeper serves. Whichever of the checker, the keeper and the server is killed, the others notice the
end of a socket or a pipe, and nothing stays. Launchers outlive the program that they are copies of.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
from _socket import socket

TYPE_CHECKING = False
if TYPE_CHECKING or __package__:
    from fungible.check.isolation.launcher_channel import receive, send
    from fungible.check.isolation.launcher_files import remove_below
    from fungible.check.isolation.launcher_kernel import adopt_orphans, die_with_parent, leave_shared_mounts, mount_proc
    from fungible.check.isolation.launcher_mounts import MountError, make_mounts
    from fungible.check.isolation.launcher_parent import Parent, kill_descendants, reap, wake_on_child_exit
else:
    # At the end: no file of ours may stand in for a module of the standard library.
    sys.path.append(os.path.dirname(os.path.abspath(__file__)))
    from launcher_channel import receive, send
    from launcher_files import remove_below
    from launcher_kernel import adopt_orphans, die_with_parent, leave_shared_mounts, mount_proc
    from launcher_mounts import MountError, make_mounts
    from launcher_parent import Parent, kill_descendants, reap, wake_on_child_exit

if TYPE_CHECKING:
    from typing import NoReturn

    from fungible.check.isolation.launcher_channel import Message


def main() -> None:
    """Forks a launcher for each disk, until the checker closes its end, or dies."""
    orders = socket(fileno=int(sys.argv[1]))
    os.set_inheritable(orders.fileno(), False)
    # Launchers that have ended are waited for by nobody: the checker knows from their sockets.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        request, descriptors = receive(orders)
        if request is None:
            break
        _launch(orders, *descriptors)
    with contextlib.suppress(ChildProcessError):
        while True:
            os.wait()  # Whoever waits for this process waits for all of them.


def _launch(orders: socket, control: int, errors: int) -> None:
    """Forks the launcher of one disk; the checker hears of it over `control`."""
    ours = socket(fileno=control)
    try:
        if os.fork() == 0:
            _become_launcher(orders, ours, errors)
    except OSError as error:
        with contextlib.suppress(OSError):
            send(ours, {"error": f"a process for a disk: {_in_words(error)}"})
    finally:
        ours.close()
        os.close(errors)


def _become_launcher(orders: socket, control: socket, errors: int) -> NoReturn:
    """This process is a copy: it gives up what is the original's, and keeps one disk to its end."""
    try:
        orders.close()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.dup2(errors, 2)
        os.close(errors)
        _keep_as_planned(control)
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        os._exit(0)


def _keep_as_planned(control: socket) -> None:
    """Keeps one disk until the checker closes its end, or dies."""
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
    ready: Message = {"keeper": os.getpid(), "overlaid": [], "failed": {}, "as_user": False}
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
    send(control, ready)
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
