"""`fungible storage`: the tables of stores that have any."""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from typing import Any, Final

from fungible.core.errors import FungibleError, SettingError
from fungible.core.urls import parse_home_url
from fungible.stores.migrations import Migrating, Migration, load_migrations
from fungible.stores.opening import ALIASES, BACKENDS, open_store

VARIABLE: Final = "FUNGIBLE_STORE"
TIMEOUT_S: Final = 10.0
"""Nobody's request waits for this: longer than a store's usual deadline."""
_EPILOG: Final = f"""\
exit status: 0 done, or up to date; 1 (status) migrations are missing; 2 the store is away, or refuses

A URL on the command line is seen by everyone on the machine who lists processes: with a password in it, put it in the
environment variable {VARIABLE}.

examples:
  fungible storage migrate
  fungible storage migrate postgresql://shop@db.internal/shop --dry-run
  fungible storage status sqlite:///shop.db
"""


def add_parser(commands: Any) -> None:
    """Adds the command to the command line."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "storage",
        help="create and upgrade the tables of stores that have any",
        description="Creates the tables that a store needs, and brings them to this release's version.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    migrate = actions.add_parser(
        "migrate",
        help="apply the migrations that are missing",
        description="Applies the migrations that are missing. Safe when several instances do so at once.",
    )
    migrate.add_argument("--dry-run", action="store_true", help="only say what would be applied")
    status = actions.add_parser(
        "status", help="say which version the tables are at", description="Says which version the tables are at."
    )
    for action, work in ((migrate, _migrate), (status, _status)):
        action.add_argument("url", metavar="URL", nargs="?", help=f"the store (default: ${VARIABLE})")
        action.set_defaults(run=run, work=work)


def run(arguments: argparse.Namespace) -> int:
    """Does it, and gives the exit status."""
    try:
        url = arguments.url or os.environ.get(VARIABLE)
        if not url:
            raise SettingError(f"which store? Give its URL, or set {VARIABLE}")
        store = open_store(url, timeout_s=TIMEOUT_S)
        if not isinstance(store, Migrating):
            print(f"nothing to apply: {store.home} has no tables, or makes them by itself")
            return 0
        scheme = parse_home_url(url).scheme
        steps = load_migrations(BACKENDS[ALIASES.get(scheme, scheme)][0])
        return asyncio.run(_closing(arguments, store, steps))
    except FungibleError as error:
        print(f"fungible storage {arguments.action}: {error}", file=sys.stderr)
        return 2


async def _closing(arguments: argparse.Namespace, store: Migrating, steps: Sequence[Migration]) -> int:
    try:
        status: int = await arguments.work(arguments, store, steps)
        return status
    finally:
        await store.aclose()


async def _migrate(arguments: argparse.Namespace, store: Migrating, steps: Sequence[Migration]) -> int:
    if arguments.dry_run:
        version = await store.applied()
        numbers = [step.number for step in steps if step.number > version]
    else:
        numbers = await store.migrate()
        version = await store.applied()
    for step in steps:
        if step.number in numbers:
            print(f"{'would apply' if arguments.dry_run else 'applied'} {_name(step)}")
    if not numbers:
        print(f"nothing to apply: {_version(version, steps)}")
    return 0


async def _status(arguments: argparse.Namespace, store: Migrating, steps: Sequence[Migration]) -> int:
    version = await store.applied()
    missing = [step for step in steps if step.number > version]
    if not missing:
        print(f"up to date: {_version(version, steps)}")
        return 0
    print(f"version {version}, and this release needs {len(steps)}: run `fungible storage migrate`")
    for step in missing:
        print(f"missing {_name(step)}")
    return 1


def _name(step: Migration) -> str:
    return f"{step.number:04} {step.name}"


def _version(version: int, steps: Sequence[Migration]) -> str:
    newer = f", of a newer release than this one, which has {len(steps)}" if version > len(steps) else ""
    return f"version {version}{newer}"
