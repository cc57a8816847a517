"""A pool of instances from a target: paths made absolute, isolation probed, setup commands run."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fungible.check.errors import CheckError, CheckFileError
from fungible.check.instances.pool import Pool
from fungible.check.instances.reserve import Reserve
from fungible.check.instances.resets import Resets
from fungible.check.instances.running import RunningPool
from fungible.check.instances.starter import Outside, Starter
from fungible.check.isolation.disks import Launchers, Layout, probe
from fungible.check.model import Target
from fungible.check.stopping import Endings

_STATE = ("/var/lib", "/var/lib/php/sessions", "/var/cache", "/var/www", "/srv", "/opt")


@dataclass(frozen=True)
class Opened:
    """Instances to be had. `reserve` keeps those that we started; `reset` cleans the backing services; `isolation` says in words what keeps instances apart."""

    pool: Pool | RunningPool
    reserve: Reserve | None = None
    reset: Callable[[], None] | None = None
    isolation: str = "instances that were running already"
    level: int = -1
    common_randomness: bool = False


def open_pool(
    target: Target,
    directory: Path,
    base: Path,
    host: str,
    endings: Endings,
    *,
    wanted_level: int | None = None,
    jobs: int | None = None,
    on_ready: Callable[[float], None] = lambda seconds: None,
    tell: Callable[[str], None] = lambda doing: None,
) -> Opened:
    """Instances of a target whose paths are relative to `directory`; what they write goes to folders in `base`.

    At most `jobs` of them start at once (as many as there are processors); `on_ready` hears how long each start took.
    `endings` gets what ends all that is started here or later. It may be called while this is still under way.

    Raises:
        CheckError: something is named that is not there, a setup command failed, a running instance is silent, or
            the isolation that is wanted can't be had.
    """
    if target.at:
        if len(target.at) < 2:
            raise CheckFileError("--at names one instance; it takes two or more to tell them apart")
        running = RunningPool(target.at, host)
        endings.add(running.close)
        return Opened(running)
    if not target.start:
        raise CheckFileError(
            "there is nothing to start: give --start 'command with {port}', or --at with the URLs of running instances"
        )
    working = absolute(target.directory or ".", directory)
    if not working.is_dir():
        raise CheckFileError(f"the working directory {working} does not exist")
    outside = Outside(target, working, base)
    endings.add(outside.close)
    if target.setup:
        tell("running setup")
    outside.setup()
    # After setup, which may be what makes them.
    shared = tuple(_existing(text, working) for text in target.shared)
    private = (*(absolute(text, working) for text in target.private), *_state_directories())
    layout = Layout(working, shared, private)
    tell("probing isolation")
    launchers = Launchers()
    endings.add(launchers.close)
    isolation = probe(layout, launchers, endings, copies=wanted_level == 0)
    if wanted_level == 1 and isolation.level < 1:
        raise CheckError(f"isolation level 1 was asked for and can't be had: {isolation.why}")
    starter = Starter(target, layout, isolation, launchers, base, host, on_ready=on_ready)
    pool = Pool(starter, base=base, shared=shared, workers=jobs or processors())
    endings.add(pool.close)
    return Opened(
        pool,
        Reserve(pool),
        Resets(outside.reset, pool) if target.reset else None,
        f"level {isolation.level}: {isolation.why}",
        isolation.level,
        isolation.common_randomness,
    )


def processors() -> int:
    """How many processors this process may use, two at least: who waits for one start can begin another."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(2, usable)


def absolute(text: str, directory: Path) -> Path:
    """A path as written in a target."""
    return (directory / Path(text).expanduser()).resolve()


def _existing(text: str, directory: Path) -> Path:
    path = absolute(text, directory)
    if not path.exists():
        raise CheckFileError(
            f"the shared path {text!r} does not exist (looked at {path}): create it, or correct `shared`"
        )
    return path


def _state_directories() -> tuple[Path, ...]:
    """Where applications keep state outside their own folder, as far as we may write there (PHP's sessions, for one)."""
    return tuple(path for path in map(Path, _STATE) if path.is_dir() and os.access(path, os.W_OK))
